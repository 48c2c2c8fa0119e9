//! What every layer of one forward pass shares: which tokens stand where.

use burn::tensor::{Device, Tensor};
use moslim_kernels::{self as kernels, RowIndices};

use crate::rope;
use crate::rows::{Packing, Padding};

/// The tokens of a forward pass, in segments that are packed after each other.
///
/// Maps and norms take all tokens at once; attention takes the segments one by one, and a later one sees the keys of the one before.
#[derive(Clone)]
pub(crate) struct Frame {
    pub segments: Vec<Segment>,
}

/// Rows that attention takes together.
#[derive(Clone)]
pub(crate) struct Segment {
    packing: Packing,
    /// Where the rows start, in the columns of what they continue if they do.
    pub starts: Vec<usize>,
    /// The row of the segment before that every row continues.
    continues: Option<RowIndices>,
    /// Angles of every cell. `[batch, time, head_dim / 2]`
    cos: Tensor<3>,
    sin: Tensor<3>,
}

impl Frame {
    /// Rows that begin, or continue what a cache holds: so many columns, in which the rows start there.
    pub(crate) fn of_rows(
        rows: &[&[u32]],
        padding: Padding,
        held: Option<(usize, &[usize])>,
        frequencies: &[f64],
        device: &Device,
    ) -> Self {
        let packing = Packing::new(rows, padding, device);
        let (offset, starts) = match held {
            Some((columns, starts)) => (columns, starts.to_vec()),
            None => (0, packing.starts()),
        };
        let (cos, sin) = rope::angles(frequencies, &starts, offset, packing.time, device);
        Self { segments: vec![Segment { packing, starts, continues: None, cos, sin }] }
    }

    /// Prompts and responses to them; response `i` continues prompt `prompt_of[i]`.
    pub(crate) fn of_responses(
        prompts: &[&[u32]],
        responses: &[&[u32]],
        prompt_of: &[usize],
        frequencies: &[f64],
        device: &Device,
    ) -> Self {
        let mut frame = Self::of_rows(prompts, Padding::Left, None, frequencies, device);
        let read = &mut frame.segments[0];
        let columns = read.packing.time;
        read.packing = read.packing.clone().after(0, device);
        let starts: Vec<usize> = prompt_of.iter().map(|&prompt| read.starts[prompt]).collect();
        let written = Self::of_rows(responses, Padding::Right, Some((columns, &starts)), frequencies, device);
        let rows: Vec<u32> = prompt_of.iter().map(|&prompt| prompt as u32).collect();
        let rows = RowIndices::new(rows, device);
        frame.segments.extend(written.segments.into_iter().map(|segment| Segment {
            packing: segment.packing.after(n_tokens(prompts), device),
            continues: Some(rows.clone()),
            ..segment
        }));
        frame
    }

    /// The same on another device; no gradient reaches angles and indices.
    pub(crate) fn to_device(&self, device: &Device) -> Self {
        let moved = |segment: &Segment| Segment {
            packing: segment.packing.to_device(device),
            continues: segment.continues.clone().map(|rows| rows.to_device(device)),
            cos: segment.cos.clone().to_device(device),
            sin: segment.sin.clone().to_device(device),
            ..segment.clone()
        };
        Self { segments: self.segments.iter().map(moved).collect() }
    }
}

impl Segment {
    /// Columns of the grid.
    pub(crate) fn time(&self) -> usize {
        self.packing.time
    }

    /// The segment's part of a projection of all tokens, by heads.
    ///
    /// `x`: `[n_tokens, n_heads · head_dim]`, returns: `[batch, n_heads, time, head_dim]`
    pub(crate) fn heads(&self, x: &Tensor<2>, head_dim: usize) -> Tensor<4> {
        let Packing { batch, time, .. } = self.packing;
        let n_heads = x.dims()[1] / head_dim;
        self.packing.grid(x.clone()).reshape([batch, time, n_heads, head_dim]).swap_dims(1, 2)
    }

    /// Back from heads to the segment's tokens.
    ///
    /// `x`: `[batch, n_heads, time, head_dim]`, returns: `[n_tokens of the segment, n_heads · head_dim]`
    pub(crate) fn packed(&self, x: Tensor<4>) -> Tensor<2> {
        let [batch, n_heads, time, head_dim] = x.dims();
        self.packing.packed(x.swap_dims(1, 2).reshape([batch * time, n_heads * head_dim]))
    }

    /// Queries or keys turned by the angles of their positions.
    pub(crate) fn rotated(&self, x: Tensor<4>) -> Tensor<4> {
        kernels::rope(x, self.cos.clone(), self.sin.clone())
    }

    /// Keys and values with those of the segment before in front, if this one continues it.
    pub(crate) fn continued(&self, before: [Tensor<4>; 2], [key, value]: [Tensor<4>; 2]) -> [Tensor<4>; 2] {
        let Some(rows) = &self.continues else { return [key, value] };
        let [keys, values] = before.map(|before| kernels::select_rows(before, rows));
        [Tensor::cat(vec![keys, key], 2), Tensor::cat(vec![values, value], 2)]
    }
}

/// The tokens of all rows.
pub(crate) fn n_tokens(rows: &[&[u32]]) -> usize {
    rows.iter().map(|row| row.len()).sum()
}
