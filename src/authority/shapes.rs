//! How requests are written: the shapes that were met, each kept once, and by each key those that it signs.

use std::sync::{Arc, OnceLock};

use quick_cache::sync::Cache;

use crate::sigv4::{Claimed, CredentialText, RequestHead, Shape, SignedRequest};

/// How many shapes a key has at most: a client writes its few kinds of calls in as many ways.
const OF_A_KEY: usize = 4;

/// All shapes that were met, bounded. A thousand keys of one kind of client share theirs.
pub struct Shapes(Cache<Arc<Shape>, Arc<Shape>>);

impl Default for Shapes {
    /// With room for a thousand.
    fn default() -> Self {
        Self(Cache::new(1000))
    }
}

impl Shapes {
    /// The same shape, in its one place.
    fn kept(&self, shape: Shape) -> Arc<Shape> {
        self.0.get(&shape).unwrap_or_else(|| {
            let shape = Arc::new(shape);
            self.0.insert(shape.clone(), shape.clone());
            shape
        })
    }
}

/// The shapes of what one key signs, the first ones that came.
#[derive(Default)]
pub struct ShapesOfKey([OnceLock<Arc<Shape>>; OF_A_KEY]);

impl ShapesOfKey {
    /// Reads a request that is written as one before; see [`Shape::read`].
    #[inline]
    pub fn read<'r, 'a>(
        &'r self,
        head: &'r RequestHead<'a>,
        claimed: &Claimed<'a>,
        known: &CredentialText,
    ) -> Option<SignedRequest<'r, 'a>> {
        self.0.iter().map_while(OnceLock::get).find_map(|shape| shape.read(head, claimed, known))
    }

    /// Keeps the shape of a request that was read otherwise, if there is room.
    #[cold]
    pub fn learn(&self, request: &SignedRequest<'_, '_>, all: &Shapes) {
        let Some(free) = self.0.iter().find(|place| place.get().is_none()) else { return };
        if let Some(shape) = Shape::of(request) {
            // Another request may have been quicker.
            let _ = free.set(all.kept(shape));
        }
    }
}
