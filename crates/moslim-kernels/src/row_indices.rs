//! Which rows of a tensor are taken.

use burn::tensor::{Device, Int, Tensor, TensorData};
use std::sync::Arc;

/// Numbers of rows for [`select_rows`](crate::select_rows), where the device wants them.
///
/// The CPU's kernel reads them as they are; for another device they are a tensor, which is sent there once.
#[derive(Clone, Debug)]
pub struct RowIndices {
    rows: Arc<[u32]>,
    tensor: Option<Tensor<1, Int>>,
}

impl RowIndices {
    /// These rows, in this order; one may come more than once.
    pub fn new(rows: impl Into<Arc<[u32]>>, device: &Device) -> Self {
        let rows = rows.into();
        let tensor = (!crate::splits_batches(device)).then(|| as_tensor(&rows, device));
        Self { rows, tensor }
    }

    /// The same for another device.
    pub fn to_device(&self, device: &Device) -> Self {
        Self::new(self.rows.clone(), device)
    }

    /// The numbers.
    pub fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// The numbers as indices. `[n]`
    pub(crate) fn tensor(&self, device: &Device) -> Tensor<1, Int> {
        match &self.tensor {
            Some(tensor) => tensor.clone(),
            None => as_tensor(&self.rows, device),
        }
    }

    #[cfg(feature = "flex")]
    pub(crate) fn shared(&self) -> Arc<[u32]> {
        self.rows.clone()
    }
}

fn as_tensor(rows: &[u32], device: &Device) -> Tensor<1, Int> {
    let numbers: Vec<i64> = rows.iter().map(|&row| row.into()).collect();
    Tensor::from_data(TensorData::new(numbers, [rows.len()]), device)
}
