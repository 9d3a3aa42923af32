//! Where a list goes on: opaque to clients, the last item's place in the order of the list to us.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::error::ApiError;

/// The marker of a page that ends with an item.
pub(super) fn after(item: &str) -> String {
    URL_SAFE_NO_PAD.encode(item)
}

/// The item that the last page ended with.
pub(super) fn read(marker: &str) -> Result<String, ApiError> {
    let item = URL_SAFE_NO_PAD.decode(marker).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    item.ok_or_else(|| ApiError::sender(400, "ValidationError", "Invalid Marker.".into()))
}
