//! Rows that many change: a budget's, a group's. Each is read and written back, and read again where somebody else was first.

use jiff::Timestamp;
use ratchet_engine::ports::StoreError;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    DynamoStateStore,
    conditional::There,
    error::{Obstacle, refused},
    item::{self, PK, SK, WRITER, text},
    key::Key,
};

/// How often others may be first before a write gives up and its event comes again.
const CONFLICTS_MAX: u32 = 100;

/// What becomes of a row that is changed.
pub(super) enum Changed<T, R> {
    /// It stays as it is.
    Stays(R),
    /// This takes its place.
    Is(T, R),
    /// It goes.
    Goes(R),
}

/// A name that no other write has.
pub(super) fn writer() -> String {
    uuid::Uuid::new_v4().to_string()
}

impl DynamoStateStore {
    /// Changes a row in one step: whatever races with it, none is lost.
    pub(super) async fn change<T, R>(
        &self,
        key: Key,
        action: &str,
        change: impl Fn(Option<T>) -> Changed<T, R> + Send,
    ) -> Result<R, StoreError>
    where
        T: Serialize + DeserializeOwned + Send,
        R: Send,
    {
        self.change_until(key, None, action, change).await
    }

    /// The same with a row that may go at a time.
    pub(super) async fn change_until<T, R>(
        &self,
        key: Key,
        ends_at: Option<Timestamp>,
        action: &str,
        change: impl Fn(Option<T>) -> Changed<T, R> + Send,
    ) -> Result<R, StoreError>
    where
        T: Serialize + DeserializeOwned + Send,
        R: Send,
    {
        let mut there = self.get(&key).await?;
        for _ in 0..CONFLICTS_MAX {
            let row = there.as_ref().map(item::row::<T>).transpose()?;
            let seen = there.as_ref().and_then(|item| item::text_of(item, WRITER)).map(str::to_owned);
            let (next, result) = match change(row) {
                Changed::Stays(result) => return Ok(result),
                Changed::Is(row, result) => (Some(row), result),
                Changed::Goes(result) => (None, result),
            };
            let lost = match next {
                Some(row) => {
                    let there = seen.map_or(There::Nothing, There::LeftBy);
                    let mut item = item::with_body(key.clone(), &row)?;
                    item.extend(ends_at.map(item::ends));
                    self.put_where(there, item, action).await?
                }
                None => self.delete_over(key.clone(), seen, action).await?,
            };
            match lost {
                None => return Ok(result),
                Some(Obstacle(current)) => there = current,
            }
        }
        Err(StoreError::Unavailable(format!("too many change {} at once", key.partition)))
    }

    /// Deletes the row that a writer left. Where another was first: what is there instead.
    async fn delete_over(&self, key: Key, seen: Option<String>, action: &str) -> Result<Option<Obstacle>, StoreError> {
        let Some(seen) = seen else { return Ok(None) };
        let deleted = self
            .client
            .delete_item()
            .table_name(&self.table)
            .key(PK, text(&key.partition))
            .key(SK, text(&key.sort))
            .condition_expression("attribute_not_exists(#k) OR #w = :seen")
            .expression_attribute_names("#k", PK)
            .expression_attribute_names("#w", WRITER)
            .expression_attribute_values(":seen", text(seen))
            .send()
            .await;
        match deleted {
            Ok(_) => Ok(None),
            Err(error) => match error.as_service_error() {
                Some(failed) if failed.is_conditional_check_failed_exception() => {
                    Ok(Some(Obstacle(self.get(&key).await?)))
                }
                _ => Err(refused(action, &error)),
            },
        }
    }
}
