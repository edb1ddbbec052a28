//! SVG plots of other figures, for light and dark pages.

mod clients;
mod csv;
mod growth;
mod svg;

use std::path::Path;

use crate::asked::Asked;

/// `plot`: draws every plot whose figures exist.
pub fn run(asked: &Asked) {
    draw(&asked.out, "clients", clients::plot(&asked.out));
    draw(&asked.out, "growth", growth::plot(&asked.out));
}

fn draw(folder: &Path, name: &str, plot: Option<String>) {
    let file = folder.join(format!("{name}.svg"));
    match plot {
        Some(plot) => {
            std::fs::write(&file, plot).expect("a plot");
            println!("`{}`", file.display());
        }
        None => println!("no plot of `{name}`: there are no figures in `{}`", folder.display()),
    }
}
