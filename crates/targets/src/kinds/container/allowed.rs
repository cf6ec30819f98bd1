//! The containers that an owner allows.

use std::collections::BTreeMap;

use glob::Pattern;

use super::info::ContainerInfo;
use crate::support::names::Names;
use crate::support::opened::OpenError;
use crate::support::value::TargetConfigError;

/// Which containers may be opened: those with an allowed name and all of the labels.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Allowed {
    pub(super) names: Names,
    /// By label: a glob for its value.
    labels: BTreeMap<String, Pattern>,
}

impl Allowed {
    pub(super) fn check(
        names: Option<Names>,
        labels: BTreeMap<String, String>,
    ) -> Result<Allowed, TargetConfigError> {
        let names = match names {
            Some(names) => names,
            None if labels.is_empty() => {
                return Err(TargetConfigError::at(
                    "containers",
                    "is missing, and so is labels: name the containers that may be opened, or their labels",
                ));
            }
            None => Names::all(),
        };
        let labels = labels.into_iter().map(|(label, glob)| match Pattern::new(&glob) {
            Ok(pattern) => Ok((label, pattern)),
            Err(error) => {
                Err(TargetConfigError::at(format!("labels.{label}"), format!("\"{glob}\": {}", error.msg)))
            }
        });
        Ok(Allowed { names, labels: labels.collect::<Result<_, _>>()? })
    }

    pub(super) fn labels_of(&self, info: &ContainerInfo) -> Result<(), OpenError> {
        let lacking = self
            .labels
            .iter()
            .find(|(label, pattern)| !info.labels.get(*label).is_some_and(|value| pattern.matches(value)));
        match lacking {
            Some((label, pattern)) => Err(OpenError::not_allowed(format!(
                "container {} does not have the label {label}={pattern} that the host's owner asks for",
                info.name
            ))),
            None => Ok(()),
        }
    }
}
