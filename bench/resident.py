"""The memory of `gesta serve` while 4 groups and 4 views follow 2,000 events/s: a line a minute.

python3 bench/resident.py target/release/gesta [MINUTES]
"""
import http.client, json, re, subprocess, sys, tempfile, threading, time
from pathlib import Path

RATE, BATCH, STREAMS, CONSUMERS = 2_000, 100, 5_000, 4
VIEW = """-- dialect: sqlite
create table sums_{number} (stream text primary key, sum integer not null) strict;
-- on account.deposited
-- require: amount
insert into sums_{number} values ($stream, :amount) on conflict do update set sum = sum + excluded.sum;
"""
given = [0] * CONSUMERS


def call(connection, method, path, body, headers={}):
    connection.request(method, path, json.dumps(body), {"Content-Type": "application/json", **headers})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status >= 300:
        sys.exit(f"{method} {path}: {answer.status} {text[:300]}")
    return json.loads(text) if text else None


def member(port, number, is_over):
    """Takes all events of one group and does nothing with them."""
    connection, settle = http.client.HTTPConnection("127.0.0.1", port), []
    while not is_over.is_set():
        ask = {"member": "m", "max": 500, "waitMs": 1000, "holds": [], "settle": settle}
        deliveries = call(connection, "POST", f"/groups/g{number}/take", ask)["deliveries"]
        settle = [{"id": delivery["id"]} for delivery in deliveries]
        given[number] += sum(len(delivery["events"]) for delivery in deliveries)


def append(port, end):
    """Appends events in batches, at the rate."""
    connection, sent, begun = http.client.HTTPConnection("127.0.0.1", port), 0, time.time()
    while time.time() < end:
        data = {"amount": 1, "note": "x" * 60}
        events = [{"stream": f"account-{(sent + at) % STREAMS}", "type": "account.deposited", "data": data} for at in range(BATCH)]
        call(connection, "POST", "/batches", {"events": events})
        sent += BATCH
        time.sleep(max(0, sent / RATE - (time.time() - begun)))
    print(f"appended {sent}, given to the groups {given}")


def resident(process):
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def main(program, minutes=10):
    with tempfile.TemporaryDirectory() as folder:
        views = Path(folder, "views")
        views.mkdir()
        for number in range(CONSUMERS):
            (views / f"sums_{number}.sql").write_text(VIEW.format(number=number))
        command = [program, "serve", "--dir", f"{folder}/log", "--views", str(views), "--listen", "127.0.0.1:0"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            port = int(re.search(r"127\.0\.0\.1:(\d+)", server.stdout.readline())[1])
            connection = http.client.HTTPConnection("127.0.0.1", port)
            for number in range(CONSUMERS):
                call(connection, "PUT", f"/groups/g{number}", {"query": "all", "from": "now"}, {"If-None-Match": "*"})
            is_over = threading.Event()
            members = [threading.Thread(target=member, args=(port, number, is_over)) for number in range(CONSUMERS)]
            appends = threading.Thread(target=append, args=(port, time.time() + minutes * 60))
            for thread in [*members, appends]:
                thread.start()
            minute = 0
            while appends.is_alive():
                print(f"{minute:>3} min {resident(server):6.1f} MiB", flush=True)
                appends.join(60)
                minute += 1
            is_over.set()
            for thread in members:
                thread.join()
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main(sys.argv[1], *map(float, sys.argv[2:3]))
