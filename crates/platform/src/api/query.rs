//! The parameters of a list, behind the `?`.

use std::borrow::Cow;
use std::str::FromStr;

use super::error::ApiError;

/// Entries of a page, and the most that may be asked for.
const LIMIT: usize = 100;
const MAX_LIMIT: usize = 500;

/// Parameters by their names. Each came at most once, and none is unknown: a misspelt one must not be ignored.
pub(super) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// # Errors
    /// 400 for what is none of the `known` ones, or came twice.
    pub(super) fn parse(query: Option<&'a str>, known: &[&str]) -> Result<Query<'a>, ApiError> {
        let mut all = Query(Vec::new());
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if !known.contains(&name.as_ref()) {
                return Err(ApiError::bad_request(format!("unknown parameter `{}`", name.escape_debug())));
            }
            if all.get(&name).is_some() {
                return Err(ApiError::bad_request(format!("{name} is there twice")));
            }
            all.0.push((name, value));
        }
        Ok(all)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_ref())
    }

    /// # Errors
    /// 400 with why it is none.
    pub(super) fn parsed<T: FromStr>(&self, name: &str) -> Result<Option<T>, ApiError>
    where
        T::Err: std::fmt::Display,
    {
        let parsed = self.get(name).map(str::parse).transpose();
        parsed.map_err(|error| ApiError::bad_request(format!("{name}: {error}")))
    }

    /// A number of digits alone.
    ///
    /// # Errors
    /// 400 if it is another text.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        match self.get(name) {
            Some(text) if !text.bytes().all(|byte| byte.is_ascii_digit()) => {
                Err(ApiError::bad_request(format!("{name}: expected a number")))
            }
            _ => self.parsed(name),
        }
    }

    /// How many entries a page has.
    ///
    /// # Errors
    /// 400 if it is no number from 1 to 500.
    pub(super) fn limit(&self) -> Result<usize, ApiError> {
        let limit = self.number("limit")?.map_or(Ok(LIMIT), usize::try_from);
        let limit = limit.ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
        limit.ok_or_else(|| ApiError::bad_request(format!("limit: expected a number from 1 to {MAX_LIMIT}")))
    }
}
