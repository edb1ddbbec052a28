# Names for the commands of this repository. Nothing needs `just`: each line can be typed as it stands.

# List the names.
default:
    @just --list

# Everything that must hold before a change goes in.
test:
    cargo xtask test

# What CI runs.
ci:
    cargo xtask ci

# The rules of the house that no compiler checks.
tidy:
    cargo xtask tidy

# The log on a simulated machine: a million operations and every fault point, or what one seed does (`just sim 42`).
sim seed="":
    cargo xtask sim {{ if seed == "" { "" } else { "--seed " + seed } }}

# `kill -9` under load, `cycles` times: every acknowledged event is there (`just torture 1000`).
torture cycles="20000":
    cargo xtask torture --cycles {{cycles}}

# Failing system calls, full disks, lost writes, power cuts on the real file system: all of it as root, or `just faults limits`,
# `just faults power-blocks --states 10000 --seed 3`.
faults *parts:
    cargo xtask faults {{parts}}
# Hours of it: 200 million operations, and every bit of a small log flipped.
sim-long:
    cargo xtask sim-long

# Every decoder takes any bytes, and the log any history: `seconds` for each target (`just fuzz 600 frame`).
fuzz seconds="60" *targets:
    cargo xtask fuzz --seconds {{seconds}} {{targets}}

# What the compiler's interpreter can run, held to the rules of memory.
miri:
    cargo xtask miri

# One line of the log changed after the other: what no test sees.
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

# The benchmarks: a workspace of their own, so that no test build pays for them.
bench *args:
    cargo run --release --manifest-path bench/Cargo.toml -- {{args}}
