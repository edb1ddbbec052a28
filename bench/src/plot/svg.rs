//! Line charts, written as SVG directly. Colours follow the reader's choice of light or dark.

use std::fmt::Write as _;

/// Colours by purpose. A series keeps its colour in both schemes, in a shade for each, suitable for colour-blind
/// readers.
const STYLE: &str = "<style>
.surface{fill:#fcfcfb}.grid{stroke:#e6e5e1;stroke-width:1}.axis{stroke:#b5b4ae;stroke-width:1}
text{font:12px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#52514e}
.title{font-size:16px;font-weight:600;fill:#0b0b0b}.name{font-weight:600;fill:#0b0b0b}.tick{font-size:11px}
.line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}.dot{stroke:#fcfcfb;stroke-width:2}.lead{stroke:#b5b4ae;stroke-width:1}
.s0{stroke:#2a78d6}.f0{fill:#2a78d6}.s1{stroke:#1baf7a}.f1{fill:#1baf7a}.s2{stroke:#eda100}.f2{fill:#eda100}
.s3{stroke:#008300}.f3{fill:#008300}.s4{stroke:#4a3aa7}.f4{fill:#4a3aa7}.s5{stroke:#e34948}.f5{fill:#e34948}
.s6{stroke:#e87ba4}.f6{fill:#e87ba4}
@media (prefers-color-scheme:dark){.surface{fill:#1a1a19}.grid{stroke:#31312f}.axis{stroke:#5e5d59}text{fill:#c3c2b7}
.title,.name{fill:#fff}.dot{stroke:#1a1a19}.lead{stroke:#5e5d59}
.s0{stroke:#3987e5}.f0{fill:#3987e5}.s1{stroke:#199e70}.f1{fill:#199e70}.s2{stroke:#c98500}.f2{fill:#c98500}
.s4{stroke:#9085e9}.f4{fill:#9085e9}.s5{stroke:#e66767}.f5{fill:#e66767}.s6{stroke:#d55181}.f6{fill:#d55181}}
</style>";

/// The number of colours.
pub const COLOURS: usize = 7;

/// The mapping of numbers to an axis.
#[derive(Clone, Copy, PartialEq)]
pub enum Scale {
    /// Linear.
    Linear,
    /// Logarithmic.
    Log,
}

/// One axis: its range and its ticks.
pub struct Axis {
    pub scale: Scale,
    pub from: f64,
    pub to: f64,
    pub ticks: Vec<f64>,
}

impl Axis {
    /// From zero to a round number above `highest`.
    pub fn from_zero(highest: f64) -> Self {
        let step = if highest > 0.0 { round_up(highest / 4.0) } else { 0.25 };
        Self {
            scale: Scale::Linear,
            from: 0.0,
            to: step * 4.0,
            ticks: (0..=4).map(|at| step * f64::from(at)).collect(),
        }
    }

    /// Logarithmic, from the power of ten below `lowest` to the one above `highest`.
    pub fn decades(lowest: f64, highest: f64) -> Self {
        let (low, high) = (lowest.log10().floor(), highest.log10().ceil());
        let decades = 0..=(high - low) as u32;
        let ticks = decades.map(|at| 10f64.powf(low + f64::from(at))).collect();
        Self { scale: Scale::Log, from: 10f64.powf(low), to: 10f64.powf(high), ticks }
    }

    /// Logarithmic, with these ticks.
    pub fn at(ticks: Vec<f64>) -> Self {
        let [from, to] = [ticks[0], ticks[ticks.len() - 1]];
        Self { scale: Scale::Log, from, to, ticks }
    }

    /// The place of a number on the axis, from 0 to 1.
    fn share(&self, number: f64) -> f64 {
        let place = |number: f64| match self.scale {
            Scale::Linear => number,
            Scale::Log => number.log10(),
        };
        let span = place(self.to) - place(self.from);
        if span == 0.0 { 0.5 } else { (place(number) - place(self.from)) / span }
    }
}

fn round_up(number: f64) -> f64 {
    let power = 10f64.powf(number.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|&step| step >= number).unwrap_or(number)
}

/// A line through points, in one of the colours.
pub struct Series {
    pub name: String,
    pub colour: usize,
    pub points: Vec<(f64, f64)>,
}

/// A rectangle with axes for lines.
pub struct Panel<'a> {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
    pub across: &'a Axis,
    pub up: &'a Axis,
}

/// An unfinished drawing.
pub struct Svg(String);

impl Svg {
    /// A drawing with a background, and a description for screen readers.
    pub fn new(width: f64, height: f64, about: &str) -> Self {
        let mut svg = Self(String::new());
        svg.add(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\"><title>{about}</title>{STYLE}<rect class=\"surface\" width=\"{width}\" height=\"{height}\" rx=\"8\"/>"
        ));
        svg
    }

    /// The finished drawing.
    pub fn finish(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }

    /// A text; `anchor` is `start`, `middle` or `end`.
    pub fn text(&mut self, class: &str, anchor: &str, x: f64, y: f64, text: &str) {
        self.add(format_args!(
            "<text class=\"{class}\" text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>"
        ));
    }

    /// A dot in the colour of a series.
    pub fn dot(&mut self, colour: usize, x: f64, y: f64) {
        self.add(format_args!("<circle class=\"dot f{colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>"));
    }

    fn stroke(&mut self, class: &str, [x1, y1, x2, y2]: [f64; 4]) {
        self.add(format_args!(
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        ));
    }

    fn add(&mut self, what: std::fmt::Arguments<'_>) {
        self.0.write_fmt(what).expect("a string takes everything");
        self.0.push('\n');
    }

    /// Grid, ticks and axes of a panel.
    pub fn axes(&mut self, panel: &Panel<'_>) {
        let (right, bottom) = (panel.left + panel.width, panel.top + panel.height);
        for &tick in &panel.up.ticks {
            let y = panel.y(tick);
            self.stroke("grid", [panel.left, y, right, y]);
            self.text("tick", "end", panel.left - 6.0, y + 4.0, &short(tick));
        }
        for &tick in &panel.across.ticks {
            self.text("tick", "middle", panel.x(tick), bottom + 16.0, &short(tick));
        }
        self.stroke("axis", [panel.left, bottom, right, bottom]);
    }

    /// A line with a dot at each point.
    pub fn line(&mut self, panel: &Panel<'_>, series: &Series) {
        if series.points.is_empty() {
            return;
        }
        let places: Vec<_> = series.points.iter().map(|&(x, y)| (panel.x(x), panel.y(y))).collect();
        let path: Vec<_> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        self.add(format_args!("<polyline class=\"line s{}\" points=\"{}\"/>", series.colour, path.join(" ")));
        for (x, y) in places {
            self.dot(series.colour, x, y);
        }
    }

    /// Writes the value of a point beside it.
    pub fn value(&mut self, panel: &Panel<'_>, (x, y): (f64, f64)) {
        self.text("name tick", "start", panel.x(x) + 7.0, panel.y(y) - 5.0, &short(y));
    }

    /// The names of lines at their ends, moved apart if they would overlap.
    pub fn names(&mut self, panel: &Panel<'_>, all: &[Series]) {
        let mut ends: Vec<_> = all
            .iter()
            .filter_map(|series| series.points.last().map(|&(x, y)| (panel.x(x), panel.y(y), series)))
            .collect();
        ends.sort_by(|a, b| a.1.total_cmp(&b.1));
        let mut free = f64::MIN;
        let right = panel.left + panel.width;
        for (x, y, series) in ends {
            let at = y.max(free);
            free = at + 17.0;
            self.stroke("lead", [x + 6.0, y, right + 18.0, at]);
            self.dot(series.colour, right + 24.0, at);
            self.text("name", "start", right + 34.0, at + 4.0, &series.name);
        }
    }
}

impl Panel<'_> {
    fn x(&self, number: f64) -> f64 {
        self.left + self.width * self.across.share(number)
    }

    fn y(&self, number: f64) -> f64 {
        self.top + self.height * (1.0 - self.up.share(number))
    }
}

/// Formats a number with few characters.
fn short(number: f64) -> String {
    let (number, unit) = match number {
        1e6.. => (number / 1e6, " M"),
        1e3.. => (number / 1e3, " k"),
        _ => (number, ""),
    };
    let digits = match number {
        10.0.. => 0,
        1.0.. => 1,
        _ => 2,
    };
    let text = format!("{number:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}
