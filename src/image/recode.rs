//! A layer in another compression.

use std::io::{Read, Write};

use super::stream::decode;
use super::{Error, Limits};

/// Writes the tar in a layer's blob, in whatever compression its first bytes announce, to `out`.
///
/// # Errors
/// When the blob is damaged, and when `out` fails.
pub fn recode_layer(blob: impl Read + Send, out: &mut impl Write) -> Result<(), Error> {
    decode(blob, Limits::default(), |decoded| {
        let mut chunk = vec![0; 1 << 18];
        loop {
            match decoded.read(&mut chunk).map_err(Error::from_stream)? {
                0 => return Ok(()),
                n => out.write_all(&chunk[..n]).map_err(Error::Write)?,
            }
        }
    })
}
