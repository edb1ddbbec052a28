//! Durable appends in process with each kind of call, compared with the bare work.

use bench_core::{Call, Contender, Events, Gesta, Guard, Streams, Work, compare};

use crate::asked::Asked;
use crate::rivals::{APPENDS, WARM_UP, append_name, bare};

pub fn run(asked: &Asked) {
    let sheet = asked.sheet("append");
    for (clients, batch) in APPENDS {
        let load = asked.load(clients, Work::Append { batch, guard: Guard::None });
        let name = append_name(clients, batch);
        compare(&sheet, &name, &contenders(), load, &|| Events::new(Streams::OfClient), WARM_UP);
    }
    for (clients, batch) in [(64, 1), (8, 100)] {
        let load = asked.load(clients, Work::Append { batch, guard: Guard::OwnTag });
        let name = format!("{}, tags and a condition", append_name(clients, batch));
        compare(&sheet, &name, &contenders(), load, &|| Events::new(Streams::OfClient).tagged(), WARM_UP);
    }
}

fn contenders() -> Vec<Contender> {
    let called = |name, call| Contender::new(name, move |folder| Gesta::open(folder, call));
    vec![
        called("blocking (threads)", Call::Blocking),
        called("async (threads)", Call::OnThreads),
        called("async (tokio tasks)", Call::InTasks),
        bare(),
    ]
}
