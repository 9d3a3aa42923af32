//! How requests are written: the shapes that were met, each kept once, and by each key those that it signs.

use std::sync::{Arc, OnceLock};

use quick_cache::sync::Cache;

use crate::sigv4::{Claimed, CredentialText, RequestHead, Shape, SignedRequest};

/// How many shapes a key has at most: a client writes its few kinds of calls in as many ways.
const OF_A_KEY: usize = 4;
/// How much memory they take at most, in bytes: twice what four common ones do. Each region that a client signs for is a key
/// of its own here, so that whoever has one secret could fill the memory with long requests.
const BYTES_OF_A_KEY: usize = 4096;

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
        let taken: usize = self.0.iter().filter_map(OnceLock::get).map(|shape| shape.bytes()).sum();
        if let Some(shape) = Shape::of(request, BYTES_OF_A_KEY.saturating_sub(taken)) {
            // Another request may have been quicker.
            let _ = free.set(all.kept(shape));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sigv4::Limits;

    /// How much memory is taken after so many requests, each with other headers that are signed.
    fn taken_after(requests: usize, headers: usize) -> usize {
        let (shapes, all) = (ShapesOfKey::default(), Shapes::default());
        for number in 0..requests {
            let names: Vec<_> = (0..headers).map(|header| format!("x-amz-meta-{number}-{header:03}")).collect();
            let lines: String = names.iter().map(|name| format!("{name}: a\n")).collect();
            let text = format!(
                "GET / HTTP/1.1\nHost: h\nx-amz-date: 20260102T030405Z\n{lines}\
                 Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/local/s3/aws4_request, \
                 SignedHeaders=host;x-amz-date;{}, Signature={}\n\n",
                names.join(";"),
                "0".repeat(64)
            );
            let (head, _) = RequestHead::parse(text.as_bytes(), &Limits::default()).expect("a head");
            shapes.learn(&SignedRequest::parse(&head).expect("well formed"), &all);
        }
        shapes.0.iter().filter_map(OnceLock::get).map(|shape| shape.bytes()).sum()
    }

    #[test]
    fn one_secret_does_not_fill_the_memory() {
        let four_common = taken_after(9, 6);
        assert!(four_common > 4 * taken_after(1, 0), "the control: four are kept, {four_common}");
        assert_eq!(four_common, 4 * taken_after(1, 6));
        assert!((1..=120).all(|headers| taken_after(9, headers) <= BYTES_OF_A_KEY));
    }
}
