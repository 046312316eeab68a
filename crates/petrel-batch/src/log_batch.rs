//! `LogBatch`: the rows of one export request that one worker owns, as an Arrow record batch.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{ArrowError, DataType as ArrowType, Field, Schema, SchemaRef};

use crate::{ColumnRequest, DataType, Resource, names};

/// Why columns do not make a batch.
#[derive(Debug, thiserror::Error)]
pub enum LogBatchError {
    /// Lengths or types of the arrays do not fit the set of columns.
    #[error("columns do not fit their schema: {0}")]
    Schema(#[from] ArrowError),
    /// Runs do not cover the rows one after the other.
    #[error("runs of resources cover {covered} of {rows} rows")]
    Runs {
        /// Rows that the runs cover.
        covered: usize,
        /// Rows of the batch.
        rows: usize,
    },
}

/// The columns that are read from a request: what detectors, the template miner and the engine asked
/// for, each once. `event_time` is always the first.
#[derive(Clone, Debug)]
pub struct ColumnSet {
    requests: Vec<ColumnRequest>,
    schema: SchemaRef,
}

impl ColumnSet {
    /// The set of these columns and `event_time`, sorted, duplicates (name and type) taken out.
    ///
    /// Columns that the engine computes (`stream`, `template`, `body.numbers`) are left out.
    #[must_use]
    pub fn new(requests: impl IntoIterator<Item = ColumnRequest>) -> Self {
        let mut requests: Vec<_> = requests
            .into_iter()
            .map(|request| ColumnRequest {
                required: false,
                ..request
            })
            .filter(|request| {
                ![
                    names::EVENT_TIME,
                    names::STREAM,
                    names::TEMPLATE,
                    names::BODY_NUMBERS,
                ]
                .contains(&request.name.as_str())
            })
            .collect();
        requests.sort();
        requests.dedup();
        requests.insert(0, ColumnRequest::new(names::EVENT_TIME, DataType::Uint64));
        let fields: Vec<_> = requests
            .iter()
            .map(|request| Field::new(&request.name, arrow_type(request.data_type), true))
            .collect();
        Self {
            requests,
            schema: Arc::new(Schema::new(fields)),
        }
    }

    /// The columns, in the order in which a `LogBatch` has them.
    #[must_use]
    pub fn requests(&self) -> &[ColumnRequest] {
        &self.requests
    }

    /// Index of a column by name and type.
    #[must_use]
    pub fn index_of(&self, name: &str, data_type: DataType) -> Option<usize> {
        self.requests
            .iter()
            .position(|request| request.name == name && request.data_type == data_type)
    }
}

/// The Arrow type that a column of a batch has: text is kept as views into the request's bytes.
pub(crate) fn arrow_type(data_type: DataType) -> ArrowType {
    match data_type {
        DataType::Boolean => ArrowType::Boolean,
        DataType::Uint32 => ArrowType::UInt32,
        DataType::Uint64 => ArrowType::UInt64,
        DataType::Int64 => ArrowType::Int64,
        DataType::Float64 => ArrowType::Float64,
        DataType::Float64List => ArrowType::new_list(ArrowType::Float64, true),
        DataType::Utf8 | DataType::Dictionary => ArrowType::Utf8View,
    }
}

/// A run of rows of one `ResourceLogs`.
#[derive(Clone, Debug)]
pub struct ResourceRun {
    /// The resource that they share.
    pub resource: Arc<Resource>,
    /// The rows, never empty.
    pub rows: Range<usize>,
    /// Digest of the `ResourceLogs`' bytes, by which a retry is known; `None` when nobody asked for
    /// it, or none of its records has a time: such ones are never taken for retries.
    pub digest: Option<u128>,
}

/// The rows of one export request that one worker owns, row `i` a log record, in request order.
///
/// Each row knows its place: the ordinal of its record among all records of the request. Records that
/// are not analysed (those that come from a Petrel) have no row. Text columns are views into the
/// request's bytes, or, for bodies that are maps, into a buffer that holds them as JSON.
#[derive(Clone, Debug)]
pub struct LogBatch {
    column_set: Arc<ColumnSet>,
    columns: RecordBatch,
    runs: Vec<ResourceRun>,
    places: Vec<u32>,
}

impl LogBatch {
    /// A batch of columns in the order of `column_set`.
    ///
    /// # Errors
    /// [`LogBatchError`] when lengths or types do not fit, or the runs do not cover all rows in order.
    pub fn try_new(
        column_set: Arc<ColumnSet>,
        columns: Vec<ArrayRef>,
        runs: Vec<ResourceRun>,
        places: Vec<u32>,
    ) -> Result<Self, LogBatchError> {
        let rows = places.len();
        let covered = runs.iter().fold(0, |at, run| {
            if run.rows.start == at {
                run.rows.end
            } else {
                at
            }
        });
        if covered != rows {
            return Err(LogBatchError::Runs { covered, rows });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let columns =
            RecordBatch::try_new_with_options(Arc::clone(&column_set.schema), columns, &options)?;
        Ok(Self {
            column_set,
            columns,
            runs,
            places,
        })
    }

    /// Number of values: rows times columns.
    #[must_use]
    pub fn n_values(&self) -> usize {
        self.n_rows() * self.columns.num_columns()
    }

    /// Number of rows.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.places.len()
    }

    /// The columns that this batch was read for.
    #[must_use]
    pub fn column_set(&self) -> &Arc<ColumnSet> {
        &self.column_set
    }

    /// A column by name and type; `None` when nobody asked for it.
    #[must_use]
    pub fn column(&self, name: &str, data_type: DataType) -> Option<&dyn Array> {
        let index = self.column_set.index_of(name, data_type)?;
        Some(self.columns.column(index).as_ref())
    }

    /// Event times, ns, one a row: the record's time, else its observed time, else its arrival.
    #[must_use]
    pub fn event_times(&self) -> &[u64] {
        use arrow_array::cast::AsArray;
        self.columns
            .column(0)
            .as_primitive::<arrow_array::types::UInt64Type>()
            .values()
    }

    /// Runs of rows that share a resource, in row order, covering all rows.
    #[must_use]
    pub fn runs(&self) -> &[ResourceRun] {
        &self.runs
    }

    /// For each row the ordinal of its record in the request, ascending.
    #[must_use]
    pub fn places(&self) -> &[u32] {
        &self.places
    }
}
