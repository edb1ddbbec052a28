//! The flag `--open-category`: raw appends to a category that the program hosts.

use gesta_core::Category;

use crate::failure::{Failure, Outcome};
use crate::host::Host;

/// Categories to keep open.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct OpenCategories {
    /// Accept raw appends to this category, though the program has commands for it. For imports and repairs. May be given several
    /// times.
    #[arg(long = "open-category", value_name = "CATEGORY")]
    open_categories: Vec<Category>,
}

impl OpenCategories {
    /// The categories, with those of the host. A category that the program does not host is open anyway, so naming one is a mistake.
    pub(crate) fn of(self, host: &Host) -> Outcome<Vec<Category>> {
        let hosted = host.hosted_categories();
        let is_hosted = |category: &Category| hosted.contains(&category.as_str());
        if let Some(unknown) = self.open_categories.iter().find(|category| !is_hosted(category)) {
            let failure = Failure::usage(format!("this program does not host the category `{unknown}`"));
            return Err(failure.help(match &hosted[..] {
                [] => "leave out `--open-category`: all categories take raw appends".to_owned(),
                hosted => format!("name one of `{}`", hosted.join("`, `")),
            }));
        }
        let mut open = self.open_categories;
        open.extend(host.open_categories.iter().cloned());
        for category in &open {
            tracing::warn!("raw appends to `{category}` are accepted: they ask no decider");
        }
        Ok(open)
    }
}
