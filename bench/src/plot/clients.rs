//! Single durable appends by the number of clients, for every store.

use std::path::Path;

use super::csv::Table;
use super::svg::{Axis, COLOURS, Panel, Series, Svg};

/// Plots the figures of `clients` and of the UmaDB program.
pub fn plot(folder: &Path) -> Option<String> {
    let mut all: Vec<Series> = Vec::new();
    add(&mut all, &Table::read(&folder.join("clients.csv"))?, |store| !store.ends_with("(commit_delay)"));
    if let Some(umadb) = Table::read(&folder.join("umadb.csv")) {
        add(&mut all, &umadb, |store| store != "Gesta (in process)");
    }
    all.truncate(COLOURS);
    let points = || all.iter().flat_map(|series| &series.points);
    let mut clients: Vec<_> = points().map(|point| point.0).collect();
    clients.sort_by(f64::total_cmp);
    clients.dedup();
    let (lowest, highest) =
        points().fold((f64::MAX, f64::MIN), |(low, high), point| (low.min(point.1), high.max(point.1)));
    if clients.len() < 2 {
        return None;
    }
    let (across, up) = (Axis::at(clients), Axis::decades(lowest, highest));
    let panel = Panel { left: 64.0, top: 72.0, width: 560.0, height: 340.0, across: &across, up: &up };
    let mut svg =
        Svg::new(860.0, 468.0, "Durable appends a second over the number of clients, for each store");
    svg.text("title", "start", 24.0, 32.0, "Durable appends of one event");
    svg.text("", "start", 24.0, 52.0, "events a second, each acknowledged after a sync; 256 bytes of data");
    svg.axes(&panel);
    svg.text(
        "",
        "middle",
        panel.left + panel.width / 2.0,
        panel.top + panel.height + 38.0,
        "clients at the same time",
    );
    // The first store is drawn last, on top of the others.
    for series in all.iter().rev() {
        svg.line(&panel, series);
    }
    svg.names(&panel, &all);
    Some(svg.finish())
}

/// Adds the points of single appends without conditions. The last run of each counts.
fn add(all: &mut Vec<Series>, table: &Table, is_wanted: impl Fn(&str) -> bool) {
    for line in table.lines() {
        let (store, load) = (line.text("store"), line.text("load"));
        let point = line.number("clients").zip(line.number("events_per_second"));
        let (Some(point), true) = (point, is_wanted(store) && load.ends_with("× 1")) else { continue };
        let at = all.iter().position(|series| series.name == store).unwrap_or_else(|| {
            all.push(Series { name: store.to_owned(), colour: all.len() % COLOURS, points: Vec::new() });
            all.len() - 1
        });
        all[at].points.retain(|known| known.0 != point.0);
        all[at].points.push(point);
        all[at].points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
}
