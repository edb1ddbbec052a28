//! Files that are written as a whole, or not at all.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::failure::{Failure, Outcome};
use crate::output::stdout;

/// Writes a file, compressed if its name ends in `.gz`. `-` is the standard output: then the result is `None`, since nothing may be
/// said there.
///
/// The file has `.part` at the end of its name until it is complete. If the log cannot be read to its end, the part stays, with whole
/// lines.
pub(crate) fn write_whole<T>(
    file: &Path,
    write: impl FnOnce(&mut dyn Write) -> Outcome<T>,
) -> Outcome<Option<T>> {
    if file == Path::new("-") {
        let mut out = stdout();
        write(&mut out).map_err(Failure::of_whole_output)?;
        out.flush().map_err(|error| Failure::from(error).of_whole_output())?;
        return Ok(None);
    }
    if file.exists() {
        return Err(Failure::new(format!("the file `{}` already exists", file.display()))
            .help("remove it or choose another name; an export never overwrites a file"));
    }
    let failed =
        |error: io::Error| Failure::new(format!("cannot write `{}`", file.display())).because(&error);
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let left = |failure: Failure| {
        failure.help(format!("the events before that are in `{}`: rename or remove it", part.display()))
    };
    let mut out = BufWriter::with_capacity(256 * 1024, File::create(&part).map_err(failed)?);
    let written = if file.extension().is_some_and(|extension| extension == "gz") {
        let mut packed = GzEncoder::new(&mut out, Compression::default());
        let written = write(&mut packed).map_err(left)?;
        packed.finish().map_err(failed)?;
        written
    } else {
        write(&mut out).map_err(left)?
    };
    let out = out.into_inner().map_err(|error| failed(error.into_error()))?;
    out.sync_all().map_err(failed)?;
    std::fs::rename(&part, file).map_err(failed)?;
    Ok(Some(written))
}
