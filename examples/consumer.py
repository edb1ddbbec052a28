# A member of a consumer group that keeps a total for each account. Start any number of copies, in one folder:
#   python3 examples/consumer.py http://127.0.0.1:2114/groups/totals
import json, os, sqlite3, sys, time, urllib.request as http
take, me, answers = sys.argv[1] + "/take", f"{os.getpid()}-{time.time_ns()}", []
db = sqlite3.connect("target.db", isolation_level=None)
for table in ("seen(stream text primary key, version integer not null)", "total(account text primary key, cents integer not null)"):
    db.execute("create table if not exists " + table)
SEEN = "insert into seen values (?, ?) on conflict (stream) do update set version = excluded.version where excluded.version > seen.version"
TOTAL = "insert into total values (?, ?) on conflict (account) do update set cents = total.cents + excluded.cents"
def settle(delivery):
    done = 0
    try:
        for event in delivery["events"]:
            with db:
                db.execute("begin immediate")
                if db.execute(SEEN, (event["stream"], event["version"])).rowcount:            # new: the effect, in the same transaction
                    db.execute(TOTAL, (event["stream"], event["data"]["amount"]))
            done += 1
        return {"id": delivery["id"]}
    except Exception as error: return {"id": delivery["id"], "handled": done, "then": "retry", "error": repr(error)}
while True:
    ask = {"member": me, "max": 64, "waitMs": 20000, "holds": [], "settle": answers}
    try:
        with http.urlopen(http.Request(take, json.dumps(ask).encode(), {"Content-Type": "application/json"}), timeout=60) as reply:
            answers = [settle(delivery) for delivery in json.load(reply)["deliveries"]]
    except Exception as error: print(error, file=sys.stderr); time.sleep(1)                   # the server is away: the same answers again
