//! The tensors behind fusion's. Asking for one waits for fusion's thread, which takes longer than a step: all are asked for at
//! once, by an operation of ours that has them as its inputs and leaves nothing.

use crate::error::Error;
use crate::memory::Primitive;
use burn_fusion::custom::{CustomOpIr, HandleContainer, Operation, OperationIr, StreamId, TensorIr};
use burn_fusion::{ExecutionError, FusionBackend, FusionRuntime};
use burn_wgpu::{CubeBackend, CubeTensor};
use std::fmt;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

type Runtime = <CubeBackend as FusionBackend>::FusionRuntime;

/// What `look` says of each tensor, on fusion's thread, after all that was recorded before.
///
/// # Errors
/// [`Error::Runtime`] where fusion does not come to it: something recorded before has failed.
pub(crate) fn each<T: Send + 'static>(
    tensors: Vec<Primitive>,
    look: impl Fn(CubeTensor) -> T + Send + Sync + 'static,
) -> Result<Vec<T>, Error> {
    let Some(first) = tensors.first() else { return Ok(vec![]) };
    let client = first.client.clone();
    let inputs: Vec<TensorIr> = tensors.into_iter().map(Primitive::into_ir).collect();
    let (sender, receiver) = channel();
    let look = move |handles: &mut HandleContainer<_>, inputs: &[TensorIr]| {
        inputs.iter().map(|input| look(handles.get_float_tensor::<CubeBackend>(input))).collect()
    };
    let repr = OperationIr::Custom(CustomOpIr::new("wgpu_optim_look", &inputs, &[]));
    client.register(StreamId::current(), repr, Look { inputs, look, sender: Mutex::new(sender) });
    client.sync(|| ());
    receiver.try_recv().map_err(|_| Error::Runtime("what was recorded before has failed".into()))
}

struct Look<T, F> {
    inputs: Vec<TensorIr>,
    look: F,
    sender: Mutex<Sender<Vec<T>>>,
}

impl<T, F> fmt::Debug for Look<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Look at {} tensors", self.inputs.len())
    }
}

impl<T: Send, F> Operation<Runtime> for Look<T, F>
where
    F: Fn(&mut HandleContainer<<Runtime as FusionRuntime>::FusionHandle>, &[TensorIr]) -> Vec<T>
        + Send
        + Sync,
{
    fn execute(
        &self,
        handles: &mut HandleContainer<<Runtime as FusionRuntime>::FusionHandle>,
    ) -> Result<(), ExecutionError> {
        let found = (self.look)(handles, &self.inputs);
        // Nobody listens where the caller has given up.
        if let Ok(sender) = self.sender.lock() {
            let _ = sender.send(found);
        }
        Ok(())
    }
}
