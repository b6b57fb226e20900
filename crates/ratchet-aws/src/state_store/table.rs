//! The table: its keys and indexes, as `template.yaml` declares them.

use aws_sdk_dynamodb::{
    Client,
    types::{
        AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
        ScalarAttributeType,
    },
};
use ratchet_engine::ports::StoreError;

use super::{
    error::refused,
    item::{LIST_SHARD, LISTED, NESTED, PK, SK, STATUS, USED, WAKE_AT, WAKE_SHARD, WORKFLOW},
};

/// The table of a deployment. Deployments make it from `template.yaml`; tests make the same one here.
#[derive(Debug, Clone, Copy)]
pub struct Table;

impl Table {
    /// The index of runs that are to be looked at again, by time, and of kept results, by their last use.
    pub const WAKE: &'static str = "wake";
    /// The index of all runs, artifacts, kept results and their uses.
    pub const LIST: &'static str = "list";

    /// Makes the table.
    pub async fn create(client: &Client, name: &str) -> Result<(), StoreError> {
        let wrong = |error: aws_sdk_dynamodb::error::BuildError| StoreError::Refused {
            action: "make the table".to_owned(),
            reason: error.to_string(),
        };
        let attribute = |name: &str, kind| {
            AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().map_err(wrong)
        };
        let part =
            |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().map_err(wrong);
        let index = |name: &str, (hash, range): (&str, &str), projection| {
            GlobalSecondaryIndex::builder()
                .index_name(name)
                .key_schema(part(hash, KeyType::Hash)?)
                .key_schema(part(range, KeyType::Range)?)
                .projection(projection)
                .build()
                .map_err(wrong)
        };
        let keys_only = Projection::builder().projection_type(ProjectionType::KeysOnly).build();
        let listed = [WORKFLOW, STATUS, NESTED, USED].map(str::to_owned).to_vec();
        let listed =
            Projection::builder().projection_type(ProjectionType::Include).set_non_key_attributes(Some(listed)).build();
        let texts = [PK, SK, WAKE_SHARD, LIST_SHARD, LISTED].map(|name| attribute(name, ScalarAttributeType::S));
        let mut request = client.create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
        for definition in texts.into_iter().chain([attribute(WAKE_AT, ScalarAttributeType::N)]) {
            request = request.attribute_definitions(definition?);
        }
        request
            .key_schema(part(PK, KeyType::Hash)?)
            .key_schema(part(SK, KeyType::Range)?)
            .global_secondary_indexes(index(Self::WAKE, (WAKE_SHARD, WAKE_AT), keys_only)?)
            .global_secondary_indexes(index(Self::LIST, (LIST_SHARD, LISTED), listed)?)
            .send()
            .await
            .map(drop)
            .map_err(|error| refused("make the table", &error))
    }
}
