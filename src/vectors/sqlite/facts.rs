//! Facts in the file, and filters as statements about them. Of a filter only question marks are in its statement.

use sqlx::{QueryBuilder, Sqlite, SqliteConnection, query_builder::Separated};

use super::{
    super::{
        filter::{Bound, Condition, Filter},
        metadata::{Metadata, Scalar, facts, instant},
    },
    tables::Generation,
};

/// Ids of the chunks of a generation that match, ascending.
pub(super) async fn matching(
    connection: &mut SqliteConnection,
    generation: &Generation,
    filter: &Filter,
) -> sqlx::Result<Vec<i64>> {
    // A row for each id would take longer than finding it.
    let mut sql = QueryBuilder::new("SELECT group_concat(id) FROM (");
    push(&mut sql, filter, generation);
    sql.push(")");
    let list: Option<String> = sql.build_query_scalar().persistent(false).fetch_one(connection).await?;
    let mut ids: Vec<i64> =
        list.iter().flat_map(|ids| ids.split(',')).filter_map(|id| id.parse().ok()).collect();
    ids.sort_unstable();
    Ok(ids)
}

/// Appends a SELECT of the ids that match, each of them once.
fn push(sql: &mut QueryBuilder<Sqlite>, filter: &Filter, generation: &Generation) {
    match filter {
        Filter::And(filters) if filters.is_empty() => push_all(sql, generation),
        Filter::And(filters) => push_combined(sql, filters, " INTERSECT ", generation),
        Filter::Or(filters) => push_combined(sql, filters, " UNION ", generation),
        Filter::Not(filter) => push_all_but(sql, filter, generation),
        Filter::Field { path, condition: Condition::Exists(false) } => {
            let exists = Filter::Field { path: path.clone(), condition: Condition::Exists(true) };
            push_all_but(sql, &exists, generation);
        }
        Filter::Field { path, condition } => match offset(path) {
            Some(column) => push_offset(sql, column, condition, generation),
            None => push_facts(sql, path, condition, generation),
        },
    }
}

fn push_all(sql: &mut QueryBuilder<Sqlite>, generation: &Generation) {
    sql.push("SELECT id FROM chunk WHERE generation = ").push_bind(generation.id);
}

fn push_all_but(sql: &mut QueryBuilder<Sqlite>, filter: &Filter, generation: &Generation) {
    push_all(sql, generation);
    sql.push(" EXCEPT SELECT * FROM (");
    push(sql, filter, generation);
    sql.push(")");
}

fn push_combined(
    sql: &mut QueryBuilder<Sqlite>,
    filters: &[Filter],
    operator: &'static str,
    generation: &Generation,
) {
    for (at, filter) in filters.iter().enumerate() {
        sql.push(if at == 0 { "" } else { operator }).push("SELECT * FROM (");
        push(sql, filter, generation);
        sql.push(")");
    }
}

/// The expression of a field that is a column of the chunk.
fn offset(path: &str) -> Option<&'static str> {
    Some(match path {
        "chunk_index" => "position",
        "char_start" => "char_start",
        "char_end" => "char_end",
        "chunk_length" => "char_end - char_start",
        _ => return None,
    })
}

fn push_offset(
    sql: &mut QueryBuilder<Sqlite>,
    column: &'static str,
    condition: &Condition,
    generation: &Generation,
) {
    push_all(sql, generation);
    match condition {
        Condition::In(values) => {
            sql.push(" AND ").push(column).push(" IN (");
            let mut list = sql.separated(", ");
            // Nothing else is equal to a number.
            for value in values.iter().filter(|value| kind(value) == NUMBER) {
                push_scalar(&mut list, value);
            }
            sql.push(")");
        }
        Condition::Numbers(bounds) => push_bounds(sql, column, bounds),
        Condition::Times(_) => {
            sql.push(" AND FALSE");
        }
        Condition::Exists(_) => {}
    }
}

fn push_facts(sql: &mut QueryBuilder<Sqlite>, path: &str, condition: &Condition, generation: &Generation) {
    sql.push(
        "SELECT c.id FROM document_fact f CROSS JOIN chunk c ON c.document = f.document AND c.generation = ",
    );
    sql.push_bind(generation.id).push(" WHERE f.collection = ").push_bind(generation.collection);
    push_fact(sql, path, condition);
    sql.push(" UNION SELECT f.chunk FROM chunk_fact f WHERE f.generation = ").push_bind(generation.id);
    push_fact(sql, path, condition);
}

fn push_fact(sql: &mut QueryBuilder<Sqlite>, path: &str, condition: &Condition) {
    sql.push(" AND f.path = ").push_bind(path.to_owned());
    match condition {
        Condition::In(values) if values.is_empty() => {
            sql.push(" AND FALSE");
        }
        Condition::In(values) => {
            sql.push(" AND (f.kind, f.value) IN (");
            sql.push_values(values, |mut row, value| {
                row.push_bind(kind(value));
                push_scalar(&mut row, value);
            });
            sql.push(")");
        }
        Condition::Numbers(bounds) => {
            sql.push(" AND f.kind = ").push_bind(NUMBER);
            push_bounds(sql, "f.value", bounds);
        }
        Condition::Times(bounds) => {
            sql.push(" AND f.kind = ").push_bind(TIME);
            for (bound, time) in bounds {
                sql.push(" AND f.value").push(operator(*bound)).push_bind(*time);
            }
        }
        Condition::Exists(_) => {}
    }
}

fn push_bounds(sql: &mut QueryBuilder<Sqlite>, column: &'static str, bounds: &[(Bound, Scalar)]) {
    for (bound, number) in bounds {
        sql.push(" AND ").push(column).push(operator(*bound));
        push_scalar(&mut sql.separated(""), number);
    }
}

fn operator(bound: Bound) -> &'static str {
    match bound {
        Bound::Gt => " > ",
        Bound::Gte => " >= ",
        Bound::Lt => " < ",
        Bound::Lte => " <= ",
    }
}

const BOOL: i64 = 0;
const NUMBER: i64 = 1;
const TEXT: i64 = 2;
const TIME: i64 = 3;

/// Rows for each statement.
const BATCH: usize = 128;

/// Inserts the facts of documents or of chunks, of which `into` names the table; `of` is their collection or generation.
pub(super) async fn insert_facts(
    connection: &mut SqliteConnection,
    into: &'static str,
    of: i64,
    metadata: &[(i64, Metadata)],
) -> sqlx::Result<()> {
    let facts =
        metadata.iter().flat_map(|(id, metadata)| facts(metadata).into_iter().map(|fact| (*id, fact)));
    let rows = facts.flat_map(|(id, (path, scalar))| {
        let time = match &scalar {
            Scalar::Text(text) => instant(text).map(|time| (TIME, Scalar::Integer(time))),
            _ => None,
        };
        // A text that is a date is found as both.
        [(kind(&scalar), scalar)]
            .into_iter()
            .chain(time)
            .map(move |(kind, value)| (id, path.clone(), kind, value))
    });
    let rows: Vec<(i64, String, i64, Scalar)> = rows.collect();
    for batch in rows.chunks(BATCH) {
        let mut sql = QueryBuilder::new(into);
        sql.push_values(batch, |mut row, (id, path, kind, value)| {
            row.push_bind(of).push_bind(path.clone()).push_bind(*kind);
            push_scalar(&mut row, value);
            row.push_bind(*id);
        });
        sql.build().persistent(false).execute(&mut *connection).await?;
    }
    Ok(())
}

fn kind(scalar: &Scalar) -> i64 {
    match scalar {
        Scalar::Bool(_) => BOOL,
        Scalar::Integer(_) | Scalar::Float(_) => NUMBER,
        Scalar::Text(_) => TEXT,
    }
}

fn push_scalar(list: &mut Separated<'_, Sqlite, &'static str>, scalar: &Scalar) {
    match scalar {
        Scalar::Bool(value) => list.push_bind(i64::from(*value)),
        Scalar::Integer(value) => list.push_bind(*value),
        Scalar::Float(value) => list.push_bind(*value),
        Scalar::Text(text) => list.push_bind(text.clone()),
    };
}
