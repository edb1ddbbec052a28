//! The schema versions of a variant beside the current one: all older ones, and those ahead.

use syn::{Error, Ident, LitInt, Result};

use crate::attributes::{OnVariant, OtherVersion, Reads};

/// A schema version as it is written in an attribute.
pub(crate) fn schema_version(literal: &LitInt) -> Result<u16> {
    literal.base10_parse().ok().filter(|version| *version > 0).ok_or_else(|| {
        Error::new(
            literal.span(),
            "a schema version is a whole number from 1 to 65535; the first version is 1",
        )
    })
}

/// How all older versions are read. Every one must be declared.
pub(crate) fn older(ident: &Ident, name: &str, version: u16, on_variant: &OnVariant) -> Result<Vec<Reads>> {
    let declared = declared(&on_variant.upcasts, "upcasters")?;
    if let Some((from, literal, _)) = declared.iter().find(|(from, ..)| *from >= version) {
        let message = format!(
            "`{name}` has version {version}, and an upcaster reads an older version: raise `version` to {} or more",
            u32::from(*from) + 1
        );
        return Err(Error::new(literal.span(), message));
    }
    let older = (1..version).map(|wanted| {
        let found = declared.iter().find(|(from, ..)| *from == wanted);
        found.map(|(.., reads)| (*reads).clone()).ok_or_else(|| {
            let message = format!(
                "version {version} of `{name}` has no upcaster from version {wanted}: add #[event(upcast({wanted} = OldType))] and `impl From<OldType> for {ident}`"
            );
            let span = on_variant.version.as_ref().map_or_else(|| ident.span(), LitInt::span);
            Error::new(span, message)
        })
    });
    older.collect()
}

/// How the versions after the current one are read. They must follow it without a gap.
pub(crate) fn ahead(name: &str, version: u16, ahead: &[OtherVersion]) -> Result<Vec<Reads>> {
    let mut declared = declared(ahead, "readings")?;
    declared.sort_by_key(|(number, ..)| *number);
    let wanted = u32::from(version) + 1..;
    let ahead = declared.into_iter().zip(wanted).map(|((number, literal, reads), wanted)| {
        if u32::from(number) == wanted {
            return Ok(reads.clone());
        }
        let message = format!(
            "`{name}` is written in version {version}, so the next version that is read ahead is {wanted}, not {number}"
        );
        Err(Error::new(literal.span(), message))
    });
    ahead.collect()
}

/// The declared versions, each once.
fn declared<'a>(others: &'a [OtherVersion], what: &str) -> Result<Vec<(u16, &'a LitInt, &'a Reads)>> {
    let mut declared: Vec<(u16, &LitInt, &Reads)> = Vec::new();
    for other in others {
        let number = schema_version(&other.version)?;
        if declared.iter().any(|(seen, ..)| *seen == number) {
            let message = format!("version {number} has two {what}: remove one");
            return Err(Error::new(other.version.span(), message));
        }
        declared.push((number, &other.version, &other.reads));
    }
    Ok(declared)
}
