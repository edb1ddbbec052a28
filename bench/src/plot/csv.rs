//! Files of figures, as `plot` reads them: a heading, and lines with the same number of fields.

use std::path::Path;

/// The lines of a file of figures after its heading.
pub struct Table {
    heading: Vec<String>,
    lines: Vec<Vec<String>>,
}

impl Table {
    /// `None` if the file does not exist. The name of a load may contain commas: surplus fields belong to the first
    /// one.
    pub fn read(file: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(file).ok()?;
        let mut lines = text.lines();
        let heading: Vec<_> = lines.next()?.split(',').map(ToOwned::to_owned).collect();
        let count = heading.len();
        let fields = |line: &str| {
            let mut fields: Vec<_> = line.rsplitn(count, ',').map(ToOwned::to_owned).collect();
            fields.reverse();
            fields
        };
        Some(Self { lines: lines.map(fields).collect(), heading })
    }

    /// All lines, with fields by name.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.lines.iter().map(|fields| Line { heading: &self.heading, fields })
    }
}

/// One line.
pub struct Line<'a> {
    heading: &'a [String],
    fields: &'a [String],
}

impl<'a> Line<'a> {
    /// A field as text; empty if it is missing.
    pub fn text(&self, name: &str) -> &'a str {
        let at = self.heading.iter().position(|heading| heading == name);
        at.and_then(|at| self.fields.get(at)).map_or("", String::as_str)
    }

    /// A field as a number.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.text(name).parse().ok().filter(|number: &f64| number.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_in_the_name_of_a_load_is_part_of_it() {
        let folder = bench_core::folder();
        let file = folder.path().join("figures.csv");
        std::fs::write(&file, "load,store,rate\nappend, 8 × 1,Gesta,12.5\n").expect("a file");
        let table = Table::read(&file).expect("a table");
        let line = table.lines().next().expect("a line");
        assert_eq!(
            (line.text("load"), line.text("store"), line.number("rate")),
            ("append, 8 × 1", "Gesta", Some(12.5))
        );
        assert!(line.number("store").is_none() && line.text("none").is_empty());
    }
}
