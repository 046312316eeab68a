//! The columns of one worker's rows while they grow, and the Arrow arrays that they become.
//!
//! A column is touched only by rows that have a value for it; gaps are filled when the next value or
//! the end comes. Text stays where it is: in the request, or, where it had to be made (JSON of a map,
//! hex of an id), in one buffer beside it.

use std::sync::Arc;

use arrow_array::builder::make_view;
use arrow_array::types::{Float64Type, Int64Type, UInt32Type, UInt64Type};
use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BooleanArray, ListArray, PrimitiveArray, StringViewArray,
};
use arrow_buffer::{
    ArrowNativeType, BooleanBuffer, BooleanBufferBuilder, Buffer, NullBuffer, ScalarBuffer,
};
use arrow_schema::Field;
use bytes::Bytes;
use petrel_batch::{ColumnSet, DataType, LogBatch, ResourceRun};

use super::plan::WalkPlan;
use super::resource::{KnownResource, OwnedCell};
use crate::wire::Span;

/// Which buffer a view points into.
const REQUEST: u32 = 0;
const BESIDE: u32 = 1;

/// A value on its way into a column.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cell {
    Uint(u64),
    Int(i64),
    Double(f64),
    Bool(bool),
    /// A view in Arrow's layout.
    Text(u128),
}

/// The rows of one worker.
pub(super) struct Columns {
    column_set: Arc<ColumnSet>,
    cells: Vec<Cells>,
    runs: Vec<ResourceRun>,
    places: Vec<u32>,
    /// Text that does not stand in the request.
    beside: Vec<u8>,
    beside_max: usize,
}

impl Columns {
    /// No rows yet; `request_len` bounds the text that is made beside the request.
    pub(super) fn new(column_set: &Arc<ColumnSet>, request_len: usize) -> Self {
        let cells = column_set.requests().iter();
        Self {
            column_set: Arc::clone(column_set),
            cells: cells.map(|request| Cells::new(request.data_type)).collect(),
            runs: Vec::new(),
            places: Vec::new(),
            beside: Vec::new(),
            beside_max: 2 * request_len + 4096,
        }
    }

    /// The row that is being filled.
    #[inline]
    pub(super) fn row(&self) -> usize {
        self.places.len()
    }

    /// Makes room for the cells that each of `n_rows` further rows has.
    pub(super) fn reserve(&mut self, n_rows: usize, plan: &WalkPlan) {
        self.places.reserve(n_rows);
        for &(column, _) in &plan.record_columns {
            self.cells[column].reserve(n_rows);
        }
    }

    /// Fills a cell of the current row unless it is filled; a value of another type leaves it null.
    ///
    /// Inlined down to the push, so that a `cell` whose type the caller knows is never in memory.
    #[inline(always)]
    pub(super) fn set(&mut self, column: usize, cell: Cell) {
        self.cells[column].set(self.places.len(), cell);
    }

    /// Ends the current row.
    #[inline]
    pub(super) fn end_row(&mut self, place: u32) {
        self.places.push(place);
    }

    /// Forgets what was filled of the current row.
    pub(super) fn drop_row(&mut self) {
        let row = self.row();
        self.cells.iter_mut().for_each(|cells| cells.truncate(row));
    }

    /// A view of text that stands in the request.
    #[inline]
    pub(super) fn view(request: &[u8], span: Span) -> Cell {
        Cell::Text(make_view(&request[span.range()], REQUEST, span.start))
    }

    /// A view of text that `write` appends beside the request; `None` when it says that it did not,
    /// since it may not get longer than it is told.
    pub(super) fn view_beside(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>, usize) -> bool,
    ) -> Option<Cell> {
        let start = self.beside.len();
        if !write(&mut self.beside, self.beside_max) {
            return None;
        }
        let text = &self.beside[start..];
        Some(Cell::Text(make_view(text, BESIDE, start as u32)))
    }

    /// Fills the resource's cells of all rows from `first` and records them as a run; `digest` is only
    /// asked for when there are any.
    pub(super) fn end_run(
        &mut self,
        first: usize,
        known: &KnownResource,
        plan: &WalkPlan,
        digest: impl FnOnce() -> Option<u128>,
    ) {
        let rows = first..self.row();
        if rows.is_empty() {
            return;
        }
        for ((column, _), cell) in plan.resource_columns.iter().zip(&known.cells) {
            let cell = match cell {
                None => continue,
                Some(OwnedCell::Bool(value)) => Cell::Bool(*value),
                Some(OwnedCell::Int(value)) => Cell::Int(*value),
                Some(OwnedCell::Double(value)) => Cell::Double(*value),
                Some(OwnedCell::Text(text)) => {
                    let view = self.view_beside(|beside, length_max| {
                        let fits = beside.len() + text.len() <= length_max;
                        if fits {
                            beside.extend_from_slice(text.as_bytes());
                        }
                        fits
                    });
                    let Some(view) = view else { continue };
                    view
                }
            };
            for row in rows.clone() {
                self.cells[*column].set(row, cell);
            }
        }
        self.runs.push(ResourceRun {
            resource: Arc::clone(&known.resource),
            rows,
            digest: digest(),
        });
    }

    /// The batch, `None` without rows, and the number of cells that were text but not UTF-8.
    pub(super) fn finish(self, request: &Bytes) -> (Option<LogBatch>, u64) {
        let n_rows = self.places.len();
        if n_rows == 0 {
            return (None, 0);
        }
        let mut buffers = vec![Buffer::from(request.clone())];
        if !self.beside.is_empty() {
            buffers.push(Buffer::from_vec(self.beside));
        }
        let mut invalid_utf8 = 0;
        let arrays = self
            .cells
            .into_iter()
            .map(|cells| cells.finish(n_rows, &buffers, &mut invalid_utf8))
            .collect();
        let batch = LogBatch::try_new(self.column_set, arrays, self.runs, self.places)
            .expect("columns were made for this set, runs row by row");
        (Some(batch), invalid_utf8)
    }
}

/// One column.
enum Cells {
    Boolean(Sparse<bool>),
    Uint32(Sparse<u32>),
    Uint64(Sparse<u64>),
    Int64(Sparse<i64>),
    Float64(Sparse<f64>),
    Text(Sparse<u128>),
    /// Lists are computed by the engine: no field of OTLP fills one.
    List,
}

impl Cells {
    fn new(data_type: DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Boolean(Sparse::default()),
            DataType::Uint32 => Self::Uint32(Sparse::default()),
            DataType::Uint64 => Self::Uint64(Sparse::default()),
            DataType::Int64 => Self::Int64(Sparse::default()),
            DataType::Float64 => Self::Float64(Sparse::default()),
            DataType::Utf8 | DataType::Dictionary => Self::Text(Sparse::default()),
            DataType::Float64List => Self::List,
        }
    }

    #[inline(always)]
    fn set(&mut self, row: usize, cell: Cell) {
        match (self, cell) {
            (Self::Text(cells), Cell::Text(view)) => cells.set(row, view),
            (Self::Uint64(cells), Cell::Uint(value)) => cells.set(row, value),
            (Self::Uint32(cells), Cell::Uint(value)) => cells.set_fitting(row, value),
            (Self::Int64(cells), Cell::Uint(value)) => cells.set_fitting(row, value),
            (Self::Float64(cells), Cell::Uint(value)) => cells.set(row, value as f64),
            (Self::Int64(cells), Cell::Int(value)) => cells.set(row, value),
            (Self::Uint64(cells), Cell::Int(value)) => cells.set_fitting(row, value),
            (Self::Uint32(cells), Cell::Int(value)) => cells.set_fitting(row, value),
            (Self::Float64(cells), Cell::Int(value)) => cells.set(row, value as f64),
            (Self::Float64(cells), Cell::Double(value)) => cells.set(row, value),
            (Self::Boolean(cells), Cell::Bool(value)) => cells.set(row, value),
            _ => {}
        }
    }

    fn reserve(&mut self, n_rows: usize) {
        match self {
            Self::Uint32(cells) => cells.values.reserve(n_rows),
            Self::Uint64(cells) => cells.values.reserve(n_rows),
            Self::Text(cells) => cells.values.reserve(n_rows),
            Self::Boolean(_) | Self::Int64(_) | Self::Float64(_) | Self::List => {}
        }
    }

    fn truncate(&mut self, n_rows: usize) {
        match self {
            Self::Boolean(cells) => cells.truncate(n_rows),
            Self::Uint32(cells) => cells.truncate(n_rows),
            Self::Uint64(cells) => cells.truncate(n_rows),
            Self::Int64(cells) => cells.truncate(n_rows),
            Self::Float64(cells) => cells.truncate(n_rows),
            Self::Text(cells) => cells.truncate(n_rows),
            Self::List => {}
        }
    }

    fn finish(self, n_rows: usize, buffers: &[Buffer], invalid_utf8: &mut u64) -> ArrayRef {
        match self {
            Self::Boolean(cells) => {
                let (values, nulls) = cells.finish(n_rows);
                Arc::new(BooleanArray::new(BooleanBuffer::from(values), nulls))
            }
            Self::Uint32(cells) => cells.finish_numbers::<UInt32Type>(n_rows),
            Self::Uint64(cells) => cells.finish_numbers::<UInt64Type>(n_rows),
            Self::Int64(cells) => cells.finish_numbers::<Int64Type>(n_rows),
            Self::Float64(cells) => cells.finish_numbers::<Float64Type>(n_rows),
            Self::Text(cells) => finish_text(cells, n_rows, buffers, invalid_utf8),
            Self::List => {
                let item = Field::new_list_field(arrow_schema::DataType::Float64, true);
                Arc::new(ListArray::new_null(Arc::new(item), n_rows))
            }
        }
    }
}

/// Views as an array. Arrow checks all of them for UTF-8, which is the one time that it is done; only
/// when that fails are they looked at one by one.
fn finish_text(
    cells: Sparse<u128>,
    n_rows: usize,
    buffers: &[Buffer],
    invalid_utf8: &mut u64,
) -> ArrayRef {
    // Arrow would look at every null.
    if cells.values.is_empty() {
        return Arc::new(StringViewArray::new_null(n_rows));
    }
    let (views, nulls) = cells.finish(n_rows);
    let views = ScalarBuffer::from(views);
    match StringViewArray::try_new(views.clone(), buffers.to_vec(), nulls.clone()) {
        Ok(array) => Arc::new(array),
        Err(_) => Arc::new(without_invalid(&views, buffers, nulls, invalid_utf8)),
    }
}

#[cold]
fn without_invalid(
    views: &[u128],
    buffers: &[Buffer],
    nulls: Option<NullBuffer>,
    invalid_utf8: &mut u64,
) -> StringViewArray {
    let mut valid = BooleanBufferBuilder::new(views.len());
    let mut kept = Vec::with_capacity(views.len());
    for (row, &view) in views.iter().enumerate() {
        let is_null = nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        let is_text = std::str::from_utf8(&viewed(view, buffers)).is_ok();
        *invalid_utf8 += u64::from(!is_null && !is_text);
        valid.append(!is_null && is_text);
        kept.push(if is_text { view } else { 0 });
    }
    let nulls = NullBuffer::new(valid.finish());
    StringViewArray::try_new(kept.into(), buffers.to_vec(), Some(nulls))
        .expect("all views that are left were checked")
}

/// The bytes that a view shows.
fn viewed(view: u128, buffers: &[Buffer]) -> Vec<u8> {
    let length = view as u32 as usize;
    if length <= 12 {
        return view.to_le_bytes()[4..4 + length].to_vec();
    }
    let (buffer, start) = ((view >> 64) as u32 as usize, (view >> 96) as usize);
    buffers[buffer][start..start + length].to_vec()
}

/// Values of the rows that have one; a row counts as filled once `values` is longer than its index.
#[derive(Default)]
struct Sparse<T> {
    values: Vec<T>,
    /// Which rows have a value, once some row has none.
    valid: Option<BooleanBufferBuilder>,
}

impl<T: Copy + Default> Sparse<T> {
    #[inline(always)]
    fn set(&mut self, row: usize, value: T) {
        if self.values.len() > row {
            return;
        }
        if self.values.len() < row {
            self.fill(row);
        }
        self.values.push(value);
        if let Some(valid) = &mut self.valid {
            valid.append(true);
        }
    }

    #[inline(always)]
    fn set_fitting<S>(&mut self, row: usize, value: S)
    where
        T: TryFrom<S>,
    {
        if let Ok(value) = T::try_from(value) {
            self.set(row, value);
        }
    }

    /// Makes the rows up to `n_rows` null.
    #[cold]
    fn fill(&mut self, n_rows: usize) {
        let n_values = self.values.len();
        let valid = self.valid.get_or_insert_with(|| {
            let mut valid = BooleanBufferBuilder::new(n_rows + 1);
            valid.append_n(n_values, true);
            valid
        });
        valid.append_n(n_rows - n_values, false);
        self.values.resize(n_rows, T::default());
    }

    fn truncate(&mut self, n_rows: usize) {
        self.values.truncate(n_rows);
        if let Some(valid) = &mut self.valid
            && valid.len() > n_rows
        {
            valid.truncate(n_rows);
        }
    }

    fn finish(mut self, n_rows: usize) -> (Vec<T>, Option<NullBuffer>) {
        if self.values.len() < n_rows {
            self.fill(n_rows);
        }
        let nulls = self.valid.map(|mut valid| NullBuffer::new(valid.finish()));
        (self.values, nulls)
    }
}

impl<T: ArrowNativeType> Sparse<T> {
    fn finish_numbers<A: ArrowPrimitiveType<Native = T>>(self, n_rows: usize) -> ArrayRef {
        let (values, nulls) = self.finish(n_rows);
        Arc::new(PrimitiveArray::<A>::new(values.into(), nulls))
    }
}
