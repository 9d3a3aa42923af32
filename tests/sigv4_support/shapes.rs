//! Every request that any test verifies is read by each shape that was met before, as well: that must come to the same.

use std::cell::{Cell, RefCell};

use rederive::sigv4::{Claimed, CredentialText, PayloadStatus, RequestHead, Shape, SignedRequest, StringToSignError};

/// The shapes that were met last, by each thread.
const KEPT: usize = 8;

struct Met {
    shape: Shape,
    credential: CredentialText,
}

thread_local! {
    static AGREED: Cell<usize> = const { Cell::new(0) };
    static MET: RefCell<Vec<Met>> = const { RefCell::new(Vec::new()) };
}

pub fn learn(request: &SignedRequest<'_, '_>) {
    let Some(shape) = Shape::of(request, usize::MAX) else { return };
    let met = Met { shape, credential: CredentialText::new(request.access_key_id(), &request.scope()) };
    MET.with_borrow_mut(|all| {
        if !all.iter().any(|it| it.shape == met.shape && it.credential == met.credential) {
            all.truncate(KEPT - 1);
            all.insert(0, met);
        }
    });
}

/// Reads the request by each shape that it has.
pub fn each_alike<'a>(head: &RequestHead<'a>, mut check: impl FnMut(&SignedRequest<'_, 'a>)) {
    let Some(claimed) = Claimed::find(head) else { return };
    MET.with_borrow(|all| {
        for request in all.iter().filter_map(|met| met.shape.read(head, &claimed, &met.credential)) {
            check(&request);
        }
    });
}

/// How often both ways to read a request were compared by this thread, and agreed.
pub fn agreed() -> usize {
    AGREED.get()
}

/// # Panics
/// If one accepts what the other refuses, or they refuse it for different reasons.
pub fn must_agree(
    head: &RequestHead<'_>,
    read: &Result<PayloadStatus, StringToSignError>,
    alike: &Result<PayloadStatus, StringToSignError>,
) {
    assert_eq!(read, alike, "read from the beginning, and as one before: {head:?}");
    AGREED.set(AGREED.get() + 1);
}
