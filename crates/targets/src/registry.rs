//! What a list of kinds can do: `kinds!` makes it from the lines in `kinds/mod.rs`.

/// An enum instead of a trait object, so that settings can be compared and futures need no box.
macro_rules! kinds {
    ($($variant:ident($settings:ty),)+) => {

        /// One of the kinds, with its checked settings.
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) enum Kind { $($variant($settings)),+ }

        /// One of the kinds, with all parameters filled in.
        #[derive(Clone, Debug)]
        pub(crate) enum Bound { $($variant(<$settings as $crate::kind::Settings>::Bound)),+ }

        impl Kind {
            /// The value of `kind` in the configuration, for each kind.
            pub(crate) const NAMES: &[&str] = &[$(<$settings>::NAME),+];

            /// By kind: the keys that only this kind has.
            pub(crate) fn keys() -> Vec<(&'static str, &'static [&'static str])> {
                vec![$((<$settings>::NAME, $crate::table::keys::<<$settings as $crate::kind::Settings>::Raw>())),+]
            }

            /// Reads and checks a kind's own keys; `None` for an unknown kind.
            pub(crate) fn from_table(
                name: &str,
                table: toml::Table,
            ) -> Option<Result<(Kind, $crate::table::Limits), $crate::TargetConfigError>> {
                match name {
                    $(<$settings>::NAME => Some($crate::table::read::<$settings>(table).map(
                        |(settings, limits)| (Kind::$variant(settings), limits),
                    )),)+
                    _ => None,
                }
            }

            pub(crate) fn name(&self) -> &'static str {
                match self { $(Kind::$variant(_) => <$settings>::NAME),+ }
            }

            pub(crate) fn params(&self) -> Vec<$crate::support::params::Param> {
                match self { $(Kind::$variant(settings) => settings.params()),+ }
            }

            pub(crate) fn view(&self) -> Option<protocol::view::View> {
                match self { $(Kind::$variant(settings) => settings.view()),+ }
            }

            pub(crate) fn is_terminal(&self) -> bool {
                match self { $(Kind::$variant(settings) => settings.is_terminal()),+ }
            }

            pub(crate) fn wants(&self) -> Vec<$crate::support::wants::Wants> {
                match self { $(Kind::$variant(settings) => settings.wants()),+ }
            }

            pub(crate) fn cell(&self) -> $crate::Cell {
                match self { $(Kind::$variant(settings) => settings.cell()),+ }
            }

            /// What each kind finds on this host, or why it could not look. They look at the same time.
            pub(crate) async fn discover() -> Vec<(&'static str, $crate::support::candidate::Findings)> {
                type Search = std::pin::Pin<Box<dyn Future<Output = $crate::support::candidate::Findings>>>;
                let searches: Vec<(&'static str, Search)> =
                    vec![$((<$settings>::NAME, Box::pin(<$settings as $crate::kind::Settings>::discover()))),+];
                let searches = searches.into_iter().map(async |(name, search)| {
                    (name, $crate::support::candidate::in_time(search).await)
                });
                futures_util::future::join_all(searches).await
            }

            pub(crate) fn bind(
                &self,
                params: &mut $crate::support::params::Params<'_>,
            ) -> Result<Bound, $crate::ParamError> {
                match self { $(Kind::$variant(settings) => settings.bind(params).map(Bound::$variant)),+ }
            }

            pub(crate) async fn probe(&self) -> Result<String, $crate::OpenError> {
                match self { $(Kind::$variant(settings) => settings.probe().await),+ }
            }
        }

        impl Bound {
            pub(crate) async fn open(
                &self,
                opening: $crate::support::opened::Opening,
            ) -> Result<$crate::Opened, $crate::OpenError> {
                match self { $(Bound::$variant(bound) => bound.open(opening).await),+ }
            }
        }
    };
}

pub(crate) use kinds;
