//! Parses and checks the attributes `#[event(…)]`, `#[tag]`, `#[command(…)]`, `#[key(…)]` and `#[row(…)]`.

use syn::meta::ParseNestedMeta;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Attribute, Error, Field, Ident, LitInt, LitStr, Result, Token, Type, parenthesized};

/// The longest event type that `gesta-core` accepts.
const EVENT_TYPE_BYTES_MAX: usize = 255;

/// The attributes on the enum of an `Event` derive.
#[derive(Default)]
pub(crate) struct OnEnum {
    pub(crate) prefix: Option<LitStr>,
    pub(crate) ignore: bool,
    pub(crate) retired: Vec<Retired>,
    pub(crate) schema: bool,
}

/// The attributes on a variant of an `Event` derive.
#[derive(Default)]
pub(crate) struct OnVariant {
    pub(crate) name: Option<LitStr>,
    pub(crate) aliases: Vec<LitStr>,
    pub(crate) version: Option<LitInt>,
    pub(crate) upcasts: Vec<OtherVersion>,
    pub(crate) ahead: Vec<OtherVersion>,
}

/// `1 = OldType`: how events of another schema version than the current one are read.
pub(crate) struct OtherVersion {
    pub(crate) version: LitInt,
    pub(crate) reads: Reads,
}

/// What an event of another schema version is read as.
#[derive(Clone)]
pub(crate) enum Reads {
    /// `OldType`: one event, by `From`.
    One(Type),
    /// `many OldType`: any number of events, by `From`.
    Many(Type),
    /// `same`: the fields of the current version.
    Same,
    /// `drop`: nothing.
    Nothing,
}

/// `"bank.account.audited" = 2`: a type that is no longer written, and its last schema version.
pub(crate) struct Retired {
    pub(crate) name: LitStr,
    pub(crate) last: LitInt,
}

impl Parse for OtherVersion {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let version = input.parse()?;
        input.parse::<Token![=]>()?;
        Ok(Self { version, reads: input.parse()? })
    }
}

impl Parse for Reads {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let ahead = input.fork();
        let word = ahead.parse::<Ident>().ok();
        let ends = ahead.is_empty() || ahead.peek(Token![,]);
        match word {
            Some(word) if ends && word == "same" => input.parse::<Ident>().map(|_| Self::Same),
            Some(word) if ends && word == "drop" => input.parse::<Ident>().map(|_| Self::Nothing),
            Some(word) if ends && word == "many" => {
                Err(Error::new(word.span(), "name the type that is read: `many OldType`"))
            }
            Some(word) if word == "many" && !ahead.peek(Token![::]) => {
                input.parse::<Ident>()?;
                input.parse().map(Self::Many)
            }
            _ => input.parse().map(Self::One),
        }
    }
}

impl Parse for Retired {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let name = checked(input.parse()?)?;
        if input.is_empty() || input.peek(Token![,]) {
            let message = format!("name the last schema version of the type: `\"{}\" = 1`", name.value());
            return Err(Error::new(name.span(), message));
        }
        input.parse::<Token![=]>()?;
        Ok(Self { name, last: input.parse()? })
    }
}

impl OnEnum {
    pub(crate) fn parse(attributes: &[Attribute]) -> Result<Self> {
        let mut found = Self::default();
        each(attributes, "event", |meta| {
            if meta.path.is_ident("prefix") {
                found.prefix = Some(event_name(&meta)?);
            } else if meta.path.is_ident("ignore") {
                found.ignore = true;
            } else if meta.path.is_ident("schema") {
                if !cfg!(feature = "schema") {
                    return Err(meta.error("`schema` needs the cargo feature `schema` of `gesta`"));
                }
                found.schema = true;
            } else if meta.path.is_ident("retired") {
                let content;
                parenthesized!(content in meta.input);
                found.retired.extend(Punctuated::<Retired, Token![,]>::parse_terminated(&content)?);
            } else {
                return Err(meta.error(
                    "unknown attribute: on the enum, expected one of `prefix`, `ignore`, `schema`, `retired(\"name\" = 1)`",
                ));
            }
            Ok(())
        })?;
        Ok(found)
    }
}

impl OnVariant {
    pub(crate) fn parse(attributes: &[Attribute]) -> Result<Self> {
        let mut found = Self::default();
        each(attributes, "event", |meta| {
            if meta.path.is_ident("name") {
                found.name = Some(event_name(&meta)?);
            } else if meta.path.is_ident("alias") {
                found.aliases.push(event_name(&meta)?);
            } else if meta.path.is_ident("version") {
                found.version = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("upcast") {
                let content;
                parenthesized!(content in meta.input);
                found.upcasts.extend(Punctuated::<OtherVersion, Token![,]>::parse_terminated(&content)?);
            } else if meta.path.is_ident("ahead") {
                let content;
                parenthesized!(content in meta.input);
                found.ahead.extend(Punctuated::<OtherVersion, Token![,]>::parse_terminated(&content)?);
            } else {
                return Err(meta.error(
                    "unknown attribute: on a variant, expected one of `name`, `version`, `alias`, `upcast(1 = OldType)`, `ahead(2 = NewType)`",
                ));
            }
            Ok(())
        })?;
        Ok(found)
    }
}

/// The key of a field's tag, from `#[tag]` or `#[event(tag = "…")]`.
pub(crate) fn tag_of(field: &Field) -> Result<Option<String>> {
    let mut found = None;
    if let Some(attribute) = field.attrs.iter().find(|attribute| attribute.path().is_ident("tag")) {
        attribute.meta.require_path_only()?;
        let Some(name) = &field.ident else {
            return Err(Error::new_spanned(
                attribute,
                "this field has no name: write `#[event(tag = \"name\")]`",
            ));
        };
        found = Some(plain(name));
    }
    each(&field.attrs, "event", |meta| {
        if !meta.path.is_ident("tag") {
            return Err(meta.error("unknown attribute: on a field, expected `tag = \"name\"`"));
        }
        let key: LitStr = meta.value()?.parse()?;
        check_tag_key(&key)?;
        found = Some(key.value());
        Ok(())
    })?;
    Ok(found)
}

/// True if the enum has `#[command(schema)]`.
pub(crate) fn has_command_schema(attributes: &[Attribute]) -> Result<bool> {
    let mut found = false;
    each(attributes, "command", |meta| {
        if !meta.path.is_ident("schema") {
            return Err(meta.error("unknown attribute: on the enum, expected `schema`"));
        }
        if !cfg!(feature = "schema") {
            return Err(meta.error("`schema` needs the cargo feature `schema` of `gesta`"));
        }
        found = true;
        Ok(())
    })?;
    Ok(found)
}

/// The name in `#[command(name = "…")]`.
pub(crate) fn command_name(attributes: &[Attribute]) -> Result<Option<LitStr>> {
    let mut found = None;
    each(attributes, "command", |meta| {
        if !meta.path.is_ident("name") {
            return Err(meta.error("unknown attribute: expected `name = \"…\"`"));
        }
        let name: LitStr = meta.value()?.parse()?;
        let text = name.value();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        {
            let message = "a command's name is part of a URL: use letters, digits, `-`, `_` and `.`";
            return Err(Error::new(name.span(), message));
        }
        found = Some(name);
        Ok(())
    })?;
    Ok(found)
}

/// The attributes on a field of a `Row` derive.
#[derive(Default)]
pub(crate) struct OnColumn {
    pub(crate) is_key: bool,
    pub(crate) is_indexed: bool,
}

impl OnColumn {
    pub(crate) fn parse(attributes: &[Attribute]) -> Result<Self> {
        let mut found = Self::default();
        each(attributes, "row", |meta| {
            if meta.path.is_ident("key") {
                found.is_key = true;
            } else if meta.path.is_ident("index") {
                found.is_indexed = true;
            } else {
                return Err(meta.error("unknown attribute: on a field, expected `key` or `index`"));
            }
            Ok(())
        })?;
        Ok(found)
    }
}

/// The name of an identifier, without `r#`.
pub(crate) fn plain(name: &Ident) -> String {
    let name = name.to_string();
    name.strip_prefix("r#").unwrap_or(&name).to_owned()
}

/// `InsufficientFunds` as `insufficient-funds`, `HTTPSent` as `http-sent`.
pub(crate) fn kebab(name: &str) -> String {
    let characters = name.chars().collect::<Vec<_>>();
    let mut kebab = String::with_capacity(name.len() + 4);
    for (at, character) in characters.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| characters[before]);
        let after = characters.get(at + 1);
        let begins_word = character.is_uppercase()
            && before.is_some_and(|before| {
                !before.is_uppercase() && before != '_'
                    || before.is_uppercase() && after.is_some_and(|after| after.is_lowercase())
            });
        if begins_word {
            kebab.push('-');
        }
        match character {
            '_' => kebab.push('-'),
            character => kebab.extend(character.to_lowercase()),
        }
    }
    kebab
}

fn each(
    attributes: &[Attribute],
    name: &str,
    mut parse: impl FnMut(ParseNestedMeta<'_>) -> Result<()>,
) -> Result<()> {
    let mut ours = attributes.iter().filter(|attribute| attribute.path().is_ident(name));
    ours.try_for_each(|attribute| attribute.parse_nested_meta(&mut parse))
}

fn event_name(meta: &ParseNestedMeta<'_>) -> Result<LitStr> {
    checked(meta.value()?.parse()?)
}

fn checked(name: LitStr) -> Result<LitStr> {
    check_event_name(&name.value()).map_err(|message| Error::new(name.span(), message))?;
    Ok(name)
}

/// Checks an event type or its prefix.
pub(crate) fn check_event_name(name: &str) -> std::result::Result<(), String> {
    if name.is_empty() {
        return Err("the name is empty: give it at least one character".to_owned());
    }
    if name.len() > EVENT_TYPE_BYTES_MAX {
        return Err(format!(
            "`{name}` is {} bytes long: at most {EVENT_TYPE_BYTES_MAX} are allowed",
            name.len()
        ));
    }
    if name.starts_with('$') {
        return Err(format!("event type `{name}` begins with `$`: these types belong to the system"));
    }
    if name.starts_with("gesta.process.") {
        return Err(format!(
            "event type `{name}` begins with `gesta.process.`: these types belong to processes"
        ));
    }
    match name.chars().find(|character| character.is_control()) {
        Some(character) => {
            Err(format!("the name holds the control character U+{:04X}: remove it", u32::from(character)))
        }
        None => Ok(()),
    }
}

pub(crate) fn check_tag_key(key: &LitStr) -> Result<()> {
    let text = key.value();
    if text.is_empty() || text.contains(':') || text.starts_with('$') || text.chars().any(char::is_control) {
        let message =
            "the key of a tag must not be empty, hold a `:` or a control character, or begin with `$`";
        return Err(Error::new(key.span(), message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::kebab;

    #[test]
    fn a_variant_name_becomes_kebab_case() {
        let cases = [
            ("Opened", "opened"),
            ("InsufficientFunds", "insufficient-funds"),
            ("HTTPSent", "http-sent"),
            ("OpenedV2", "opened-v2"),
            ("A", "a"),
            ("Snake_Case", "snake-case"),
        ];
        for (variant, name) in cases {
            assert_eq!(kebab(variant), name, "{variant}");
        }
    }
}
