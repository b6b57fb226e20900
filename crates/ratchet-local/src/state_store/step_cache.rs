//! Kept results of steps, beside the state of the runs that made them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use ratchet_core::{
    ids::{Digest, Epoch, ExecutionId, StepId, StepKey, StepPath},
    step::Usage,
};
use ratchet_engine::ports::{
    CacheError, Entry, EntryFilter, EntryName, Evicted, Lease, Leased, Listed, Looked, Page, Published, Statistic,
    StepCache, StoreError, UseFilter, Used,
};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, TransactionBehavior, params, params_from_iter};

use super::{
    LocalStateStore,
    error::StoreFailure,
    row::{integer, item, nanoseconds},
};

/// How long it is known how a step was settled: so that a year can be compared with the one before it, month by month, and the table does not grow for ever.
const USES_KEPT: SignedDuration = SignedDuration::from_hours(400 * 24);

/// The step cache of one machine, in the file of the state.
#[derive(Debug, Clone)]
pub struct LocalStepCache {
    store: Arc<LocalStateStore>,
    bytes_max: u64,
    /// Whether what was noted long ago is forgotten: that is done with the first use that is noted, and not with each.
    forgot: Arc<AtomicBool>,
}

impl LocalStepCache {
    /// The kept results of this state, which push others out so as to stay within so many bytes.
    pub fn new(store: Arc<LocalStateStore>, bytes_max: u64) -> Self {
        Self { store, bytes_max, forgot: Arc::default() }
    }

    /// The entry of a name at a time. One that is of no use stays where it is.
    pub(crate) fn peek(&self, name: &EntryName, now: Timestamp) -> Result<Looked, CacheError> {
        self.read("be read", |connection| Ok(look(connection, name, now)?))
    }

    /// Who computes the result of a name, where somebody said so.
    pub(crate) fn held(&self, name: &EntryName) -> Result<Option<Lease>, CacheError> {
        self.read("be read", |connection| Ok(lease_of(connection, name)?))
    }

    /// Whether the use that is to be noted is the first.
    fn forgets(&self) -> bool {
        !self.forgot.swap(true, Ordering::Relaxed)
    }

    /// Changes the file in one transaction.
    async fn write<T: Send + 'static>(
        &self,
        action: &'static str,
        write: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, CacheError> {
        let written = self.store.writer.alone(action, |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = write(&transaction)?;
            transaction.commit()?;
            Ok(value)
        });
        written.await.map_err(|error| failed(action, &error))
    }

    fn read<T>(
        &self,
        action: &'static str,
        read: impl FnOnce(&Connection) -> Result<T, StoreFailure>,
    ) -> Result<T, CacheError> {
        self.store.readers.read(read).map_err(|error| failed(action, &error))
    }
}

fn failed(action: &'static str, error: &StoreError) -> CacheError {
    CacheError::Failed { action, reason: error.to_string() }
}

#[async_trait]
impl StepCache for LocalStepCache {
    async fn get(&self, name: &EntryName, now: Timestamp) -> Result<Looked, CacheError> {
        let looked = self.read("be read", |connection| Ok(look(connection, name, now)?))?;
        match looked {
            Looked::Expired | Looked::Damaged(_) => {
                // Unless another took its place meanwhile.
                let name = name.clone();
                self.write("remove an entry", move |connection| {
                    let looked = look(connection, &name, now)?;
                    if matches!(looked, Looked::Expired | Looked::Damaged(_)) {
                        remove(connection, &name)?;
                    }
                    Ok(looked)
                })
                .await
            }
            Looked::Entry(_) | Looked::Absent => Ok(looked),
        }
    }

    async fn publish(&self, entry: Entry, used: Used, replace: bool) -> Result<Published, CacheError> {
        let (bytes_max, forgets) = (self.bytes_max, self.forgets());
        self.write("keep an entry", move |connection| {
            end_lease(connection, &entry.name, &entry.made_by, None)?;
            let stands = matches!(look(connection, &entry.name, entry.created_at)?, Looked::Entry(_));
            if !note(connection, &used, forgets)? || stands && !replace {
                return Ok(Published::Passed);
            }
            put(connection, &entry, entry.created_at)?;
            evict(connection, bytes_max, Some(&entry.name))?;
            Ok(Published::Kept)
        })
        .await
    }

    async fn note(&self, used: Used) -> Result<(), CacheError> {
        let forgets = self.forgets();
        self.write("note a hit", move |connection| {
            connection
                .prepare_cached("UPDATE cache_entry SET used_at = max(used_at, ?3) WHERE scope = ?1 AND key = ?2")?
                .execute(params![used.name.scope, used.name.key.as_str(), nanoseconds(used.at)])?;
            note(connection, &used, forgets).map(|_| ())
        })
        .await
    }

    async fn lease(&self, name: &EntryName, lease: Lease, over: Option<&Lease>) -> Result<Leased, CacheError> {
        let (name, over) = (name.clone(), over.cloned());
        self.write("give a lease", move |connection| {
            if matches!(look(connection, &name, lease.taken_at)?, Looked::Entry(_)) {
                return Ok(Leased::Published);
            }
            match lease_of(connection, &name)? {
                Some(held) if over.as_ref() != Some(&held) && held.holder != lease.holder => Ok(Leased::Held(held)),
                _ => {
                    connection
                        .prepare_cached("INSERT OR REPLACE INTO cache_lease (scope, key, body) VALUES (?1, ?2, ?3)")?
                        .execute(params![name.scope, name.key.as_str(), text(&lease)])?;
                    Ok(Leased::Taken)
                }
            }
        })
        .await
    }

    async fn release(&self, name: &EntryName, holder: &StepKey, attempt: u32) -> Result<(), CacheError> {
        let (name, holder) = (name.clone(), holder.clone());
        self.write("end a lease", move |connection| end_lease(connection, &name, &holder, Some(attempt))).await
    }

    async fn remove(&self, name: &EntryName) -> Result<bool, CacheError> {
        let name = name.clone();
        self.write("remove an entry", move |connection| remove(connection, &name)).await
    }

    async fn withdraw(&self, name: &EntryName, made_by: &StepKey, now: Timestamp) -> Result<bool, CacheError> {
        let (name, made_by) = (name.clone(), made_by.clone());
        self.write("withdraw an entry", move |connection| {
            connection
                .prepare_cached(
                    "INSERT OR IGNORE INTO cache_use (execution, epoch, step, item, at, withdrawn) \
                     VALUES (?1, ?2, ?3, ?4, ?5, 1)",
                )?
                .execute(params![
                    made_by.execution.as_str(),
                    made_by.epoch.0,
                    made_by.path.step.as_str(),
                    item(&made_by),
                    nanoseconds(now)
                ])?;
            let is_its = made(connection, &name, &made_by)?.is_some();
            Ok(is_its && remove(connection, &name)?)
        })
        .await
    }

    async fn confirm(&self, name: &EntryName, made_by: &StepKey) -> Result<(), CacheError> {
        let (name, made_by) = (name.clone(), made_by.clone());
        self.write("confirm an entry", move |connection| {
            let Some((entry, used_at)) = made(connection, &name, &made_by)? else { return Ok(()) };
            if entry.unproven {
                put(connection, &Entry { unproven: false, ..entry }, used_at)?;
            }
            Ok(())
        })
        .await
    }

    async fn invalidate(&self, filter: &EntryFilter) -> Result<u64, CacheError> {
        let filter = filter.clone();
        self.write("remove entries", move |connection| {
            let (conditions, values) = selecting(&filter);
            let sql = format!("DELETE FROM cache_entry WHERE {}", conditions.join(" AND "));
            Ok(connection.execute(&sql, params_from_iter(values))? as u64)
        })
        .await
    }

    async fn evict(&self, bytes_max: u64) -> Result<Evicted, CacheError> {
        self.write("push entries out", move |connection| evict(connection, bytes_max, None)).await
    }

    async fn entries(
        &self,
        filter: &EntryFilter,
        after: Option<&EntryName>,
        limit: usize,
    ) -> Result<Page<Listed>, CacheError> {
        let (mut conditions, mut values) = selecting(filter);
        if let Some(after) = after {
            conditions.push("(scope, key) > (?, ?)".to_owned());
            values.push(Box::new(after.scope.clone()));
            values.push(Box::new(after.key.as_str().to_owned()));
        }
        let sql = format!(
            "SELECT scope, key, digest, body, used_at FROM cache_entry WHERE {} ORDER BY scope, key LIMIT {}",
            conditions.join(" AND "),
            limit.saturating_add(1)
        );
        let mut rows = self.read("be read", |connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params_from_iter(values), |row| {
                let name = EntryName { scope: row.get(0)?, key: Digest::new(row.get::<_, String>(1)?) };
                let entry = opened(&name, &row.get::<_, String>(2)?, &row.get::<_, String>(3)?).map(Box::new);
                Ok(Listed { name, entry, used_at: timestamp(row.get(4)?) })
            })?;
            Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?)
        })?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        Ok(Page { rows, more })
    }

    async fn uses(&self, filter: &UseFilter, limit: usize) -> Result<Vec<Used>, CacheError> {
        let (conditions, values) = meaning(filter);
        let sql = format!(
            "SELECT execution, epoch, step, item, at, workflow, scope, key, hit, process_ms, cost_usd, tokens FROM cache_use \
             WHERE {} ORDER BY at DESC, execution DESC, step DESC, item DESC LIMIT {limit}",
            conditions.join(" AND ")
        );
        self.read("be read", |connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params_from_iter(values), used)?;
            Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?)
        })
    }

    async fn statistics(&self, filter: &UseFilter) -> Result<Vec<Statistic>, CacheError> {
        let (conditions, values) = meaning(filter);
        let sql = format!(
            "SELECT workflow, step, sum(hit), sum(NOT hit), \
             sum(iif(hit, process_ms, 0)), total(iif(hit, cost_usd, 0)), \
             sum(iif(hit, 0, process_ms)), total(iif(hit, 0, cost_usd)) \
             FROM cache_use WHERE {} GROUP BY workflow, step ORDER BY workflow, step",
            conditions.join(" AND ")
        );
        self.read("be read", |connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params_from_iter(values), |row| {
                let count = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
                Ok(Statistic {
                    workflow: row.get(0)?,
                    step: StepId::new(row.get::<_, String>(1)?),
                    hits: count(2)?,
                    misses: count(3)?,
                    saved_ms: count(4)?,
                    saved_usd: row.get(5)?,
                    spent_ms: count(6)?,
                    spent_usd: row.get(7)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?)
        })
    }
}

fn look(connection: &Connection, name: &EntryName, now: Timestamp) -> rusqlite::Result<Looked> {
    Ok(match stored(connection, name)? {
        None => Looked::Absent,
        Some((Ok(entry), _)) if entry.is_expired(now) => Looked::Expired,
        Some((Ok(entry), _)) => Looked::Entry(Box::new(entry)),
        Some((Err(reason), _)) => Looked::Damaged(reason),
    })
}

type Stored = (Result<Entry, String>, Timestamp);

fn stored(connection: &Connection, name: &EntryName) -> rusqlite::Result<Option<Stored>> {
    let row = connection
        .prepare_cached("SELECT digest, body, used_at FROM cache_entry WHERE scope = ?1 AND key = ?2")?
        .query_row(params![name.scope, name.key.as_str()], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?))
        })
        .optional()?;
    Ok(row.map(|(digest, body, used_at)| (opened(name, &digest, &body), timestamp(used_at))))
}

fn opened(name: &EntryName, digest: &str, body: &str) -> Result<Entry, String> {
    let entry = Entry::opened(body, &Digest::new(digest))?;
    if entry.name == *name { Ok(entry) } else { Err("it is the entry of another key".to_owned()) }
}

/// The entry of a name that this step made.
fn made(connection: &Connection, name: &EntryName, made_by: &StepKey) -> rusqlite::Result<Option<(Entry, Timestamp)>> {
    let stored = stored(connection, name)?;
    Ok(stored.and_then(|(entry, used_at)| Some((entry.ok().filter(|entry| entry.made_by == *made_by)?, used_at))))
}

fn put(connection: &Connection, entry: &Entry, used_at: Timestamp) -> rusqlite::Result<()> {
    let (body, digest) = entry.sealed();
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO cache_entry \
             (scope, key, workflow, step, version, bytes, created_at, used_at, expires_at, digest, body) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            entry.name.scope,
            entry.name.key.as_str(),
            entry.workflow,
            entry.made_by.path.step.as_str(),
            entry.version,
            integer(entry.bytes),
            nanoseconds(entry.created_at),
            nanoseconds(used_at),
            entry.expires_at.map(nanoseconds),
            digest.as_str(),
            body
        ])
        .map(|_| ())
}

fn remove(connection: &Connection, name: &EntryName) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached("DELETE FROM cache_entry WHERE scope = ?1 AND key = ?2")?;
    Ok(statement.execute(params![name.scope, name.key.as_str()])? > 0)
}

/// Notes a use, and says whether it was not noted before. `forgets` says that what was noted long before it is forgotten.
fn note(connection: &Connection, used: &Used, forgets: bool) -> rusqlite::Result<bool> {
    if forgets {
        let long_ago = used.at.saturating_sub(USES_KEPT).map_or(i64::MIN, nanoseconds);
        connection.execute("DELETE FROM cache_use WHERE at < ?1", params![long_ago])?;
    }
    let mut statement = connection.prepare_cached(
        "INSERT OR IGNORE INTO cache_use \
         (execution, epoch, step, item, at, workflow, scope, key, hit, process_ms, cost_usd, tokens, withdrawn) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, 0)",
    )?;
    let noted = statement.execute(params![
        used.step.execution.as_str(),
        used.step.epoch.0,
        used.step.path.step.as_str(),
        item(&used.step),
        nanoseconds(used.at),
        used.workflow,
        used.name.scope,
        used.name.key.as_str(),
        used.hit,
        integer(used.usage.process_ms),
        used.usage.cost_usd,
        used.usage.tokens.map(integer)
    ])?;
    Ok(noted > 0)
}

fn used(row: &Row<'_>) -> rusqlite::Result<Used> {
    let child = u32::try_from(row.get::<_, i64>(3)?).ok();
    Ok(Used {
        step: StepKey {
            execution: ExecutionId::new(row.get::<_, String>(0)?),
            epoch: Epoch(row.get(1)?),
            path: StepPath { step: StepId::new(row.get::<_, String>(2)?), child },
        },
        at: timestamp(row.get(4)?),
        workflow: row.get(5)?,
        name: EntryName { scope: row.get(6)?, key: Digest::new(row.get::<_, String>(7)?) },
        hit: row.get(8)?,
        usage: Usage {
            process_ms: row.get::<_, i64>(9)?.unsigned_abs(),
            cost_usd: row.get(10)?,
            tokens: row.get::<_, Option<i64>>(11)?.map(i64::unsigned_abs),
            ..Usage::default()
        },
    })
}

fn lease_of(connection: &Connection, name: &EntryName) -> rusqlite::Result<Option<Lease>> {
    let body = connection
        .prepare_cached("SELECT body FROM cache_lease WHERE scope = ?1 AND key = ?2")?
        .query_row(params![name.scope, name.key.as_str()], |row| row.get::<_, String>(0))
        .optional()?;
    // One that cannot be read is as none: at worst the same is computed twice.
    Ok(body.and_then(|body| serde_json::from_str(&body).ok()))
}

fn end_lease(
    connection: &Connection,
    name: &EntryName,
    holder: &StepKey,
    attempt: Option<u32>,
) -> rusqlite::Result<()> {
    let held = lease_of(connection, name)?;
    if held.is_some_and(|held| held.holder == *holder && attempt.is_none_or(|attempt| attempt == held.attempt)) {
        connection
            .prepare_cached("DELETE FROM cache_lease WHERE scope = ?1 AND key = ?2")?
            .execute(params![name.scope, name.key.as_str()])?;
    }
    Ok(())
}

fn evict(connection: &Connection, bytes_max: u64, but: Option<&EntryName>) -> rusqlite::Result<Evicted> {
    let total: i64 = connection
        .prepare_cached("SELECT coalesce(sum(bytes), 0) FROM cache_entry")?
        .query_row([], |row| row.get(0))?;
    let mut total = total.unsigned_abs();
    let mut evicted = Evicted::default();
    if total <= bytes_max {
        return Ok(evicted);
    }
    let mut statement =
        connection.prepare_cached("SELECT scope, key, bytes FROM cache_entry ORDER BY used_at, scope, key")?;
    let mut rows = statement.query([])?;
    let mut gone = Vec::new();
    while total > bytes_max
        && let Some(row) = rows.next()?
    {
        let name = EntryName { scope: row.get(0)?, key: Digest::new(row.get::<_, String>(1)?) };
        let bytes = row.get::<_, i64>(2)?.unsigned_abs();
        if Some(&name) != but {
            total = total.saturating_sub(bytes);
            evicted.entries += 1;
            evicted.bytes += bytes;
            gone.push(name);
        }
    }
    for name in gone {
        remove(connection, &name)?;
    }
    Ok(evicted)
}

type Values = Vec<Box<dyn ToSql>>;

/// The conditions of a filter of entries, and their values in order.
fn selecting(filter: &EntryFilter) -> (Vec<String>, Values) {
    let (mut conditions, mut values): (Vec<String>, Values) = (vec!["true".to_owned()], Vec::new());
    let mut add = |condition: &str, value: Option<Box<dyn ToSql>>| {
        if let Some(value) = value {
            conditions.push(condition.to_owned());
            values.push(value);
        }
    };
    // A key is hexadecimal: what follows its digits in order is `g`.
    add("key >= ?", filter.key.clone().map(|key| Box::new(key) as _));
    add("key < ? || 'g'", filter.key.clone().map(|key| Box::new(key) as _));
    add("workflow = ?", filter.workflow.clone().map(|workflow| Box::new(workflow) as _));
    add("step = ?", filter.step.as_ref().map(|step| Box::new(step.as_str().to_owned()) as _));
    add("version = ?", filter.version.clone().map(|version| Box::new(version) as _));
    add("created_at < ?", filter.made_before.map(|at| Box::new(nanoseconds(at)) as _));
    add("used_at < ?", filter.unused_since.map(|at| Box::new(nanoseconds(at)) as _));
    add("expires_at <= ?", filter.expired_by.map(|at| Box::new(nanoseconds(at)) as _));
    (conditions, values)
}

/// The conditions of a filter of uses, and their values in order.
fn meaning(filter: &UseFilter) -> (Vec<String>, Values) {
    let (mut conditions, mut values): (Vec<String>, Values) = (vec!["workflow IS NOT NULL".to_owned()], Vec::new());
    let mut add = |condition: &str, value: Option<Box<dyn ToSql>>| {
        if let Some(value) = value {
            conditions.push(condition.to_owned());
            values.push(value);
        }
    };
    add("workflow = ?", filter.workflow.clone().map(|workflow| Box::new(workflow) as _));
    add("step = ?", filter.step.as_ref().map(|step| Box::new(step.as_str().to_owned()) as _));
    add("execution = ?", filter.execution.as_ref().map(|execution| Box::new(execution.as_str().to_owned()) as _));
    add("at >= ?", filter.from.map(|at| Box::new(nanoseconds(at)) as _));
    add("at < ?", filter.before.map(|at| Box::new(nanoseconds(at)) as _));
    add("hit = ?", filter.hit.map(|hit| Box::new(hit) as _));
    (conditions, values)
}

fn timestamp(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn text(lease: &Lease) -> String {
    // Plain data with text keys always has a JSON form.
    serde_json::to_string(lease).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use ratchet_testkit::contract;
    use tempfile::TempDir;

    use super::*;

    #[tokio::test]
    async fn uses_are_forgotten_after_their_time_once_an_opening() {
        let folder = TempDir::new().unwrap();
        let store = Arc::new(LocalStateStore::open(&folder.path().join("state.db")).unwrap());
        let opened = || LocalStepCache::new(store.clone(), u64::MAX);
        let mut cache = opened();
        let day = |day: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(day * 24);
        let known = async |cache: &LocalStepCache| {
            let known = cache.uses(&UseFilter::default(), 10).await.unwrap();
            known.iter().map(|used| used.at).collect::<Vec<_>>()
        };
        for at in [0, 1, 400, 401] {
            if at == 401 {
                assert_eq!(known(&cache).await, [day(400), day(1), day(0)], "nothing is looked for with each use");
                cache = opened();
            }
            let path = StepPath { step: StepId::new("a"), child: None };
            let step = StepKey { execution: ExecutionId::new(at.to_string()), epoch: Epoch::FIRST, path };
            let name = EntryName { scope: "w".to_owned(), key: Digest::new("0") };
            let used = Used { step, workflow: "w".to_owned(), name, at: day(at), hit: true, usage: Usage::default() };
            cache.note(used).await.unwrap();
        }
        assert_eq!(known(&cache).await, [day(401), day(400), day(1)]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn keeps_the_contract() {
        let folder = TempDir::new().unwrap();
        contract::step_cache(async |bytes_max| {
            let path = tempfile::tempdir_in(folder.path()).unwrap().keep().join("state.db");
            let store = Arc::new(LocalStateStore::open(&path).unwrap());
            let cache = LocalStepCache::new(store, bytes_max.unwrap_or(u64::MAX));
            let damage = move |name: &EntryName| {
                let connection = Connection::open(&path).unwrap();
                connection
                    .execute(
                        "UPDATE cache_entry SET body = body || ' ' WHERE scope = ?1 AND key = ?2",
                        params![name.scope, name.key.as_str()],
                    )
                    .unwrap();
            };
            (Arc::new(cache) as Arc<dyn StepCache>, Box::new(damage) as _)
        })
        .await;
    }
}
