//! `#[derive(Row)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Field, Fields, Ident, LitStr, Result, Type};

use crate::attributes::{OnColumn, plain};

/// The longest name of a table or column that both databases take.
const NAME_BYTES_MAX: usize = 60;

/// Names that a database uses itself. `gesta-views` has the same list, and checks each view with it when the program starts.
const RESERVED: [&str; 7] = ["excluded", "tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

/// A field of the struct.
struct Column<'a> {
    member: &'a Ident,
    ty: &'a Type,
    name: String,
    on: OnColumn,
}

pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let table = table(input)?;
    let columns = fields(input)?.map(Column::of).collect::<Result<Vec<_>>>()?;
    let keys = keys(input, &columns)?;
    let (name, key_columns) = (&input.ident, keys.len());
    let declared = columns.iter().map(|Column { ty, name, on, .. }| {
        let is_indexed = on.is_indexed;
        quote!(::gesta::__private::column::<#ty>(#name, #is_indexed))
    });
    let fits_key =
        keys.iter().map(|Column { ty, .. }| quote!(const _: () = ::gesta::__private::assert_key::<#ty>();));
    let key_items = key_items(keys);
    let values = columns
        .iter()
        .map(|Column { member, name, .. }| quote!(::gesta::__private::to_value(#name, &self.#member)?));
    let read = columns.iter().map(
        |Column { member, name, .. }| quote!(#member: ::gesta::__private::from_value(#name, values.next())?),
    );
    Ok(quote! {
        #(#fits_key)*

        #[automatically_derived]
        impl ::gesta::Row for #name {
            #key_items

            fn table() -> ::gesta::view::Table {
                ::gesta::__private::table(#table, #key_columns, ::std::vec![#(#declared),*])
            }

            fn values(&self) -> ::std::result::Result<::std::vec::Vec<::gesta::view::SqlValue>, ::gesta::ViewError> {
                ::std::result::Result::Ok(::std::vec![#(#values),*])
            }

            fn from_values(values: ::std::vec::Vec<::gesta::view::SqlValue>) -> ::std::result::Result<Self, ::gesta::ViewError> {
                let mut values = values.into_iter();
                ::std::result::Result::Ok(Self { #(#read),* })
            }
        }
    })
}

/// The items of `Row` that are about its key. A key of one field is that field, not a tuple.
fn key_items(keys: &[Column<'_>]) -> TokenStream {
    let members = keys.iter().map(|Column { member, .. }| member).collect::<Vec<_>>();
    let types = keys.iter().map(|Column { ty, .. }| ty);
    let clones = members.iter().map(|member| quote!(::std::clone::Clone::clone(&self.#member)));
    let values =
        keys.iter().map(|Column { member, name, .. }| quote!(::gesta::__private::to_value(#name, #member)?));
    let read = keys
        .iter()
        .map(|Column { name, .. }| quote!(::gesta::__private::from_value(#name, values.next())))
        .collect::<Vec<_>>();
    let (key_type, key, pattern, read) = match (&members[..], &read[..]) {
        ([member], [read]) => (quote!(#(#types)*), quote!(#(#clones)*), quote!(#member), quote!(#read)),
        _ => (
            quote!((#(#types),*)),
            quote!((#(#clones),*)),
            quote!((#(#members),*)),
            quote!(::std::result::Result::Ok((#(#read?),*))),
        ),
    };
    quote! {
        type Key = #key_type;

        fn key(&self) -> Self::Key {
            #key
        }

        fn key_values(key: &Self::Key) -> ::std::result::Result<::std::vec::Vec<::gesta::view::SqlValue>, ::gesta::ViewError> {
            let #pattern = key;
            ::std::result::Result::Ok(::std::vec![#(#values),*])
        }

        fn key_from_values(values: ::std::vec::Vec<::gesta::view::SqlValue>) -> ::std::result::Result<Self::Key, ::gesta::ViewError> {
            let mut values = values.into_iter();
            #read
        }
    }
}

impl<'a> Column<'a> {
    fn of(field: &'a Field) -> Result<Self> {
        let member = field.ident.as_ref().expect("the fields have names");
        let name = plain(member);
        check_name(&name).map_err(|message| Error::new_spanned(member, message))?;
        Ok(Self { member, ty: &field.ty, name, on: OnColumn::parse(&field.attrs)? })
    }
}

fn table(input: &DeriveInput) -> Result<LitStr> {
    let Some(attribute) = input.attrs.iter().find(|attribute| attribute.path().is_ident("row")) else {
        let message = "add #[row(\"…\")]: the name of the table, which must not depend on Rust paths";
        return Err(Error::new_spanned(&input.ident, message));
    };
    let table: LitStr = attribute.parse_args()?;
    check_name(&table.value()).map_err(|message| Error::new(table.span(), message))?;
    Ok(table)
}

fn fields(input: &DeriveInput) -> Result<impl Iterator<Item = &Field>> {
    if let Some(parameter) = input.generics.params.first() {
        return Err(Error::new_spanned(
            parameter,
            "`Row` cannot be derived for a generic struct: name the types",
        ));
    }
    match &input.data {
        Data::Struct(data) if matches!(data.fields, Fields::Named(_)) => Ok(data.fields.iter()),
        _ => Err(Error::new_spanned(
            &input.ident,
            "`Row` is derived for a struct with named fields: they are the columns of the table",
        )),
    }
}

/// The columns of the key, which come first.
fn keys<'c, 'a>(input: &DeriveInput, columns: &'c [Column<'a>]) -> Result<&'c [Column<'a>]> {
    let keys = columns.iter().take_while(|column| column.on.is_key).count();
    if let Some(late) = columns[keys..].iter().find(|column| column.on.is_key) {
        let message = "put the fields of the key first: the order of the fields is that of the columns";
        return Err(Error::new_spanned(late.member, message));
    }
    if keys == 0 {
        let message = "mark the key with #[row(key)]: the first field, or the first fields";
        return Err(Error::new_spanned(&input.ident, message));
    }
    Ok(&columns[..keys])
}

fn check_name(name: &str) -> std::result::Result<(), String> {
    let is_plain = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    let is_reserved = ["gesta_", "sqlite_", "pg_"].iter().any(|prefix| name.starts_with(prefix));
    let is_reserved = is_reserved || RESERVED.contains(&name);
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_plain);
    match fits && !is_reserved && !name.as_bytes()[0].is_ascii_digit() {
        true => Ok(()),
        false => Err(format!(
            "`{name}` cannot be the name of a table or column: use 1 to {NAME_BYTES_MAX} of a-z, 0-9 and _, not beginning with a digit, `gesta_`, `sqlite_` or `pg_`, and not {}",
            RESERVED.join(", ")
        )),
    }
}
