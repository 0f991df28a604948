//! `pollster::block_on` in a page: while a future is not ready, the whole stack of WebAssembly is suspended for a turn of
//! the page's event loop (JavaScript Promise Integration), in which mappings and devices arrive.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

#[cfg(target_arch = "wasm32")]
#[link(wasm_import_module = "turn")]
unsafe extern "C" {
    /// Returns after a turn of the event loop. Only below an export that JavaScript calls as `promising`.
    fn turn();
}

/// Waits for `future`.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        // SAFETY: the import has no arguments and touches no memory of ours; what runs in the meantime are callbacks of
        // wasm-bindgen, which leave the stack as they found it.
        #[cfg(target_arch = "wasm32")]
        unsafe {
            turn()
        }
        #[cfg(not(target_arch = "wasm32"))]
        std::thread::yield_now();
    }
}
