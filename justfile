# Short names for the commands of this repository. Nothing needs `just`: each line works in a shell.

# List the names.
default:
    @just --list

# Every check that a change must pass.
test:
    cargo xtask test

# The checks of `test`, and those that take longer.
ci:
    cargo xtask ci

# The rules of the house that no compiler checks.
tidy:
    cargo xtask tidy

# The log on a simulated machine: a million operations and every fault point, or one seed (`just sim 42`).
sim seed="":
    cargo xtask sim {{ if seed == "" { "" } else { "--seed " + seed } }}

# Consumer groups by seed: members that die, restarts, puts in doubt; or one seed (`just sim-groups 42`).
sim-groups seed="":
    cargo xtask sim-groups {{ if seed == "" { "" } else { "--seed " + seed } }}

# A store on a JetStream cluster by seed: elections, lost answers, lost messages; or one seed (`just sim-jetstream 42`).
sim-jetstream seed="":
    cargo xtask sim-jetstream {{ if seed == "" { "" } else { "--seed " + seed } }}

# `kill -9` under load, `cycles` times: every acknowledged event is there (`just torture 1000`).
torture cycles="20000":
    cargo xtask torture --cycles {{cycles}}

# `kill -9` for members of a group and their server, `kills` times: each event has its effect once.
torture-groups kills="10000":
    cargo xtask torture-groups --kills {{kills}}

# Failing system calls, full disks, lost writes and power cuts on the real file system. All parts need root; one part:
# `just faults limits`, `just faults power-blocks --states 10000 --seed 3`.
faults *parts:
    cargo xtask faults {{parts}}

# The simulation for hours: 200 million operations, and every bit of a small log flipped.
sim-long:
    cargo xtask sim-long

# Arbitrary bytes for every decoder and arbitrary histories for the log: `seconds` for each target (`just fuzz 600 frame`).
fuzz seconds="60" *targets:
    cargo xtask fuzz --seconds {{seconds}} {{targets}}

# Unit tests in the compiler's interpreter, which checks the rules of memory.
miri:
    cargo xtask miri

# Changes the log line by line, and lists the changes that no test notices.
mutants *files:
    cargo xtask mutants {{files}}

# Format the code.
fmt:
    cargo fmt --all

# The compiler's and clippy's advice, as errors.
lint:
    cargo clippy --workspace --all-targets -- -D warnings

# The manual of every crate, in the browser.
docs:
    cargo doc --workspace --no-deps --open

# The example bank, hosted by the `gesta` binary.
demo:
    cargo run --release --package gesta-cli -- demo

# Three services on one log: kills one of them and shows that nothing is lost.
demo-shop:
    cargo xtask demo-shop

# The benchmarks: a separate workspace, so that test builds do not build them.
bench *args:
    cargo run --release --manifest-path bench/Cargo.toml -- {{args}}
