//! The header frame: what [`Header`] says, the guest's symbols, and what is not seen, each in a section.

use serde::{Deserialize, Serialize};

use super::section::{Content, Packer, Section, Seen, Unpacker};
use super::{MAX_FACTS, MAX_IMAGE, MAX_NOT_SEEN, MAX_SYMBOL_TABLE, MAX_SYMBOLS, Malformed, varint};
use crate::Error;
use crate::header::{Fact, Header, ImageFacts, Stretch, Symbols};

mod id {
    pub(super) const FACTS: u8 = 1;
    pub(super) const SYMBOLS: u8 = 2;
    pub(super) const NOT_SEEN: u8 = 3;
    pub(super) const IMAGE: u8 = 4;
}

#[derive(Serialize, Deserialize)]
struct Facts {
    guest: String,
    command: Vec<String>,
    guest_command_line: String,
    vcpus: u8,
    memory_bytes: u64,
    start_unix_ns: u64,
    tsc_khz: u64,
    host: Vec<(String, String)>,
    calibration: Vec<(String, String)>,
    recorder: String,
}

#[derive(Serialize, Deserialize)]
struct Image {
    length: u64,
    crc32: u32,
    constant: Vec<Stretch>,
}

/// A symbol; the table is a varint count and these.
#[derive(Serialize, Deserialize)]
struct Entry<'a> {
    /// From the symbol before.
    address: i64,
    size: u64,
    name: &'a str,
}

/// The body of the header frame.
pub(crate) fn encode(header: &Header, packer: &mut Packer) -> Result<Vec<u8>, Error> {
    let encode = |source| Error::Encode { what: "header", source };
    let pairs = |facts: &[Fact]| facts.iter().map(|f| (f.name.clone(), f.value.clone())).collect();
    let facts = postcard::to_stdvec(&Facts {
        guest: header.guest.clone(),
        command: header.command.clone(),
        guest_command_line: header.guest_command_line.clone(),
        vcpus: header.vcpus,
        memory_bytes: header.memory_bytes,
        start_unix_ns: header.start_unix_ns,
        tsc_khz: header.tsc_khz,
        host: pairs(&header.host),
        calibration: pairs(&header.calibration),
        recorder: header.recorder.clone(),
    })
    .map_err(encode)?;

    check("number of symbols", header.symbols.len(), MAX_SYMBOLS)?;
    let mut symbols = Vec::new();
    varint::put(&mut symbols, header.symbols.len() as u64);
    let mut last = 0;
    for (address, size, name) in header.symbols.iter() {
        let address = super::payload::delta(address, &mut last);
        symbols = postcard::to_extend(&Entry { address, size, name }, symbols).map_err(encode)?;
    }
    check("size of the header", facts.len(), MAX_FACTS)?;
    check("size of the symbol table", symbols.len(), MAX_SYMBOL_TABLE)?;
    let not_seen = match header.not_seen.as_slice() {
        [] => Vec::new(),
        sentences => postcard::to_stdvec(sentences).map_err(encode)?,
    };
    check("size of what is not seen", not_seen.len(), MAX_NOT_SEEN)?;

    let image = match &header.image {
        None => Vec::new(),
        Some(ImageFacts { length, crc32, constant }) => {
            let image = Image { length: *length, crc32: *crc32, constant: constant.clone() };
            postcard::to_stdvec(&image).map_err(encode)?
        }
    };
    check("size of what the image has in memory", image.len(), MAX_IMAGE)?;

    let mut body = Vec::new();
    packer.put(&mut body, id::FACTS, Content::Records, &facts)?;
    packer.put(&mut body, id::SYMBOLS, Content::Records, &symbols)?;
    packer.put(&mut body, id::NOT_SEEN, Content::Records, &not_seen)?;
    packer.put(&mut body, id::IMAGE, Content::Records, &image)?;
    Ok(body)
}

fn check(what: &'static str, size: usize, limit: u32) -> Result<(), Error> {
    if size > limit as usize {
        return Err(Error::TooLarge { what, size: size as u64, limit: limit.into() });
    }
    Ok(())
}

/// The header in the body of a header frame.
pub(crate) fn decode(mut body: &[u8], unpacker: &mut Unpacker) -> Result<Header, Malformed> {
    let mut header = Header::default();
    let mut raw = Vec::new();
    let mut seen = Seen::default();
    while !body.is_empty() {
        let section = Section::take(&mut body)?;
        seen.once(&section)?;
        match section.id {
            id::FACTS => {
                unpacker.unpack(&section, MAX_FACTS, &mut raw)?;
                let facts: Facts =
                    postcard::take_from_bytes(&raw).map_err(|_| Malformed("facts of the header"))?.0;
                header = Header {
                    symbols: header.symbols,
                    not_seen: header.not_seen,
                    image: header.image,
                    ..header_of(facts)
                };
            }
            id::SYMBOLS => {
                unpacker.unpack(&section, MAX_SYMBOL_TABLE, &mut raw)?;
                header.symbols = symbols(&raw)?;
            }
            id::NOT_SEEN => {
                unpacker.unpack(&section, MAX_NOT_SEEN, &mut raw)?;
                header.not_seen =
                    postcard::take_from_bytes(&raw).map_err(|_| Malformed("what is not seen"))?.0;
            }
            id::IMAGE => {
                unpacker.unpack(&section, MAX_IMAGE, &mut raw)?;
                let Image { length, crc32, constant } =
                    postcard::take_from_bytes(&raw).map_err(|_| Malformed("facts of the image"))?.0;
                header.image = Some(ImageFacts { length, crc32, constant });
            }
            _ => {}
        }
    }
    Ok(header)
}

fn header_of(facts: Facts) -> Header {
    let facts_of =
        |pairs: Vec<(String, String)>| pairs.into_iter().map(|(name, value)| Fact { name, value }).collect();
    Header {
        guest: facts.guest,
        command: facts.command,
        guest_command_line: facts.guest_command_line,
        vcpus: facts.vcpus,
        memory_bytes: facts.memory_bytes,
        start_unix_ns: facts.start_unix_ns,
        tsc_khz: facts.tsc_khz,
        host: facts_of(facts.host),
        calibration: facts_of(facts.calibration),
        recorder: facts.recorder,
        ..Header::default()
    }
}

fn symbols(mut raw: &[u8]) -> Result<Symbols, Malformed> {
    let count = varint::take_u32(&mut raw)
        .filter(|&count| count <= MAX_SYMBOLS)
        .ok_or(Malformed("number of symbols"))?;
    let mut symbols = Symbols::default();
    let mut last = 0;
    for _ in 0..count {
        let (entry, rest): (Entry<'_>, _) =
            postcard::take_from_bytes(raw).map_err(|_| Malformed("symbol table"))?;
        raw = rest;
        let before = last;
        let address = super::payload::undelta(entry.address, &mut last);
        if address < before {
            return Err(Malformed("symbols are not in the order of their addresses"));
        }
        symbols.push(address, entry.size, entry.name);
    }
    Ok(symbols)
}
