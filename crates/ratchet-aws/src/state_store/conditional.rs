//! A conditional put: an item is written where what lies in its place is as its writer saw it.

use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use ratchet_engine::ports::{Expectation, StoreError};

use super::{
    DynamoStateStore,
    error::{Obstacle, obstacle, refused},
    item::{self, Item, PK, REVISION, WRITER, number, text},
    shared::writer,
};

/// What must lie where an item is put.
pub(super) enum There {
    /// Nothing.
    Nothing,
    /// The row after so many changes.
    Revision(u64),
    /// What this write left.
    LeftBy(String),
}

impl From<Expectation> for There {
    fn from(expect: Expectation) -> Self {
        match expect {
            Expectation::Absent => Self::Nothing,
            Expectation::Revision(revision) => Self::Revision(revision),
        }
    }
}

impl DynamoStateStore {
    /// Puts an item where its condition holds. Otherwise: what is there instead.
    pub(super) async fn put_where(
        &self,
        there: There,
        mut item: Item,
        action: &str,
    ) -> Result<Option<Obstacle>, StoreError> {
        let own = writer();
        item.insert(WRITER.to_owned(), text(&own));
        let request = self.client.put_item().table_name(&self.table).set_item(Some(item));
        let request = match there {
            There::Nothing => {
                request.condition_expression("attribute_not_exists(#k)").expression_attribute_names("#k", PK)
            }
            There::Revision(revision) => request
                .condition_expression("#r = :r")
                .expression_attribute_names("#r", REVISION)
                .expression_attribute_values(":r", number(revision)),
            There::LeftBy(writer) => request
                .condition_expression("#w = :seen")
                .expression_attribute_names("#w", WRITER)
                .expression_attribute_values(":seen", text(writer)),
        };
        let put = request.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld).send();
        match put.await {
            Ok(_) => Ok(None),
            Err(error) => match obstacle(&error) {
                // The answer to an earlier try of the same write was lost.
                Some(Obstacle(Some(item))) if item::text_of(&item, WRITER) == Some(&own) => Ok(None),
                Some(current) => Ok(Some(current)),
                None => Err(refused(action, &error)),
            },
        }
    }
}
