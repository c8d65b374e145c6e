//! Reading columns: every type that the house dialect stores, by name.

use std::{fmt::Display, str::FromStr};

use jiff::Timestamp;
use sqlx::{Row as _, any::AnyRow};

use super::StoreError;

/// Where a page of a list begins, and how many rows it may have.
#[derive(Debug, Clone)]
pub(in crate::fleet) struct Keyset {
    /// The last id of the page before; empty for the first.
    pub after: String,
    pub limit: i64,
}

/// Typed columns of a row.
pub(super) trait Columns {
    fn text(&self, name: &str) -> Result<String, StoreError>;
    fn optional_text(&self, name: &str) -> Result<Option<String>, StoreError>;
    fn number(&self, name: &str) -> Result<i64, StoreError>;
    fn optional_number(&self, name: &str) -> Result<Option<i64>, StoreError>;

    /// Ids, roles and whatever else is stored as its text.
    fn parsed<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T, StoreError> {
        parse(name, &self.text(name)?)
    }

    fn optional_parsed<T: FromStr<Err: Display>>(
        &self,
        name: &str,
    ) -> Result<Option<T>, StoreError> {
        self.optional_text(name)?.map(|text| parse(name, &text)).transpose()
    }

    fn time(&self, name: &str) -> Result<Timestamp, StoreError> {
        to_time(name, self.number(name)?)
    }

    fn optional_time(&self, name: &str) -> Result<Option<Timestamp>, StoreError> {
        self.optional_number(name)?.map(|millis| to_time(name, millis)).transpose()
    }

    fn count(&self, name: &str) -> Result<u32, StoreError> {
        u32::try_from(self.number(name)?).map_err(|error| corrupt(name, error))
    }
}

impl Columns for AnyRow {
    fn text(&self, name: &str) -> Result<String, StoreError> {
        Ok(self.try_get(name)?)
    }

    fn optional_text(&self, name: &str) -> Result<Option<String>, StoreError> {
        Ok(self.try_get(name)?)
    }

    fn number(&self, name: &str) -> Result<i64, StoreError> {
        Ok(self.try_get(name)?)
    }

    fn optional_number(&self, name: &str) -> Result<Option<i64>, StoreError> {
        Ok(self.try_get(name)?)
    }
}

fn parse<T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|error| corrupt(name, error))
}

fn to_time(name: &str, millis: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_millisecond(millis).map_err(|error| corrupt(name, error))
}

/// What a column that cannot be read is reported as. The value itself is not repeated.
pub(super) fn corrupt(name: &str, error: impl Display) -> StoreError {
    StoreError::Corrupt(format!("column `{name}`: {error}"))
}
