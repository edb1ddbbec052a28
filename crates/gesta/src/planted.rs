//! The switch of planted mistakes. A simulation plants a mistake, and must find it.

/// Makes `plant` and `planted` for the enum `Bug` of a module. Unit tests switch mistakes on, one at a time; nothing else can.
macro_rules! switch_of_bugs {
    () => {
        #[cfg(test)]
        thread_local! {
            static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
        }

        /// Plants a mistake in all that this thread does; `None` removes it.
        #[cfg(test)]
        pub(crate) fn plant(bug: Option<Bug>) {
            PLANTED.set(bug);
        }

        /// True if the mistake is planted.
        #[cfg(test)]
        pub(crate) fn planted(bug: Bug) -> bool {
            PLANTED.get() == Some(bug)
        }

        /// True if the mistake is planted: none is.
        #[cfg(not(test))]
        pub(crate) const fn planted(_bug: Bug) -> bool {
            false
        }
    };
}

pub(crate) use switch_of_bugs;
