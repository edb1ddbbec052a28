//! The cost of calls while the log grows: a small panel for each, on a scale from zero, so that a constant cost is a
//! flat line.

use std::path::Path;

use super::csv::Table;
use super::svg::{Axis, Panel, Series, Svg};

/// The columns to plot and their titles.
const PANELS: [(&str, &str); 12] = [
    ("single_p50_us", "append, lone caller, p50 µs"),
    ("single_over_bare", "the same, ratio to a bare write and sync"),
    ("steady_p99_us", "200,000 events/s, p99 µs late"),
    ("stream_p50_us", "read 10 events of a stream, p50 µs"),
    ("head_p50_us", "head of a stream, p50 µs"),
    ("absent_id_p50_us", "an id that does not exist, p50 µs"),
    ("condition_p50_us", "condition of two tags, p50 µs"),
    ("cold_first_p50_us", "first event, cold disk, p50 µs"),
    ("scattered_per_second", "scattered stream, events/s read"),
    ("open_ms", "open after kill -9, cold, ms"),
    ("disk_ratio", "bytes on disk over bytes of events"),
    ("resident_mb", "memory held, MB"),
];

const COLUMNS: usize = 3;
const KINDS: [(&str, &str, usize); 2] = [("v7", "ids UUIDv7", 0), ("v4", "ids UUIDv4", 2)];

/// Plots the figures of `growth` for each kind of event ids.
pub fn plot(folder: &Path) -> Option<String> {
    let tables = KINDS.iter().filter_map(|&(kind, name, colour)| {
        Some((Table::read(&folder.join(format!("growth-{kind}.csv")))?, name, colour))
    });
    let tables: Vec<_> = tables.collect();
    if tables.is_empty() {
        return None;
    }
    let (width, height) = (264.0, 190.0);
    let rows = PANELS.len().div_ceil(COLUMNS) as f64;
    let about = "What each call costs as the log grows, one panel for each call";
    let mut svg = Svg::new(24.0 + COLUMNS as f64 * width + 12.0, 84.0 + rows * height, about);
    svg.text("title", "start", 24.0, 32.0, "The same calls as the log grows");
    let mut x = 28.0;
    for (_, name, colour) in &tables {
        svg.dot(*colour, x, 49.0);
        svg.text("", "start", x + 10.0, 53.0, name);
        x += 110.0;
    }
    svg.text("", "start", x, 53.0, "over events stored");
    for (at, (column, about)) in PANELS.iter().enumerate() {
        let all = tables
            .iter()
            .map(|(table, name, colour)| series(table, column, name, *colour))
            .collect::<Vec<_>>();
        let (left, top) = (24.0 + (at % COLUMNS) as f64 * width, 84.0 + (at / COLUMNS) as f64 * height);
        panel(&mut svg, &all, about, left, top, width, height);
    }
    Some(svg.finish())
}

/// The figures of the last run by the number of stored events.
fn series(table: &Table, column: &str, name: &str, colour: usize) -> Series {
    let mut points: Vec<(f64, f64)> = Vec::new();
    for point in table.lines().filter_map(|line| line.number("events").zip(line.number(column))) {
        points.retain(|known| known.0 != point.0);
        points.push(point);
    }
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    Series { name: name.to_owned(), colour, points }
}

fn panel(svg: &mut Svg, all: &[Series], about: &str, left: f64, top: f64, width: f64, height: f64) {
    svg.text("name", "start", left, top, about);
    let highest = all.iter().flat_map(|series| &series.points).map(|point| point.1).fold(0.0, f64::max);
    let (across, up) = (Axis::at(vec![1e6, 3e6, 1e7, 3e7, 1e8]), Axis::from_zero(highest));
    let panel = Panel {
        left: left + 44.0,
        top: top + 16.0,
        width: width - 76.0,
        height: height - 66.0,
        across: &across,
        up: &up,
    };
    svg.axes(&panel);
    for series in all.iter().rev() {
        svg.line(&panel, series);
    }
    if let Some(point) = all.first().and_then(|series| series.points.last()) {
        svg.value(&panel, *point);
    }
}
