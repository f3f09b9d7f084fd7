//! Tables as each release of Linux has them, made from a list of symbols by an encoder that is no better than it must be.

use proptest::prelude::*;

use super::*;

fn decode(vmlinux: &[u8]) -> Option<Vec<Symbol>> {
    super::decode("k", vmlinux)?.ok()
}

const TEXT: u64 = 0xffff_ffff_8100_0000;
const TEXT_32: u64 = 0xc100_0000;
/// Where the tables begin in the file.
const TABLES: usize = 0x400;

/// What differs between releases and configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    order: Order,
    addresses: Addresses,
    /// Size of a pointer.
    word: usize,
    /// Size of the number and of a marker.
    number: usize,
    /// Bytes of an entry of `kallsyms_seqs_of_names`.
    seqs: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Until63,
    Since64,
    Since70,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Addresses {
    AbsolutePercpu,
    Based,
    Pointers,
    SelfRelative,
}

const fn layout(order: Order, addresses: Addresses, word: usize, number: usize, seqs: usize) -> Layout {
    Layout { order, addresses, word, number, seqs }
}

const LAYOUTS: [Layout; 12] = [
    // 4.6
    layout(Order::Until63, Addresses::AbsolutePercpu, 8, 8, 0),
    layout(Order::Until63, Addresses::Pointers, 8, 8, 0),
    layout(Order::Until63, Addresses::Based, 4, 4, 0),
    // 4.20
    layout(Order::Until63, Addresses::AbsolutePercpu, 8, 4, 0),
    layout(Order::Until63, Addresses::Based, 8, 4, 0),
    // 6.2
    layout(Order::Until63, Addresses::AbsolutePercpu, 8, 4, 4),
    layout(Order::Until63, Addresses::AbsolutePercpu, 8, 4, 3),
    // 6.4
    layout(Order::Since64, Addresses::AbsolutePercpu, 8, 4, 3),
    layout(Order::Since64, Addresses::Pointers, 8, 4, 3),
    layout(Order::Since64, Addresses::Based, 4, 4, 3),
    // 6.15
    layout(Order::Since64, Addresses::Based, 8, 4, 3),
    // 7.0
    layout(Order::Since70, Addresses::SelfRelative, 8, 4, 3),
];

impl Layout {
    fn align(self) -> usize {
        if self.order == Order::Since70 { 4 } else { self.word }
    }

    fn text(self) -> u64 {
        if self.word == 8 { TEXT } else { TEXT_32 }
    }

    fn has_percpu(self) -> bool {
        matches!(self.addresses, Addresses::AbsolutePercpu | Addresses::Pointers)
    }
}

/// A symbol with the letter for its type.
#[derive(Clone, Debug)]
struct Input {
    address: u64,
    kind: u8,
    name: String,
}

/// The ELF file of a kernel with these symbols, sorted by address.
fn vmlinux(symbols: &[Input], layout: Layout) -> Vec<u8> {
    let mut file = elf_header(layout);
    // A keyboard's table, that begins as the tokens do but is none.
    file.resize(TABLES - 0x40, 0);
    file.extend_from_slice(b"0\x001\x002\x003\x004\x005\x006\x007\x008\x009\0q\0w\0e\0r\0t\0y\0");
    file.resize(TABLES, 0);
    let tokens = tokens_for(symbols);
    if layout.order == Order::Until63 {
        put_addresses(&mut file, symbols, layout);
    }
    put_names(&mut file, symbols, &tokens, layout);
    if layout.order == Order::Until63 {
        put_seqs(&mut file, symbols.len(), layout);
    }
    put_tokens(&mut file, &tokens, layout);
    if layout.order != Order::Until63 {
        put_addresses(&mut file, symbols, layout);
        put_seqs(&mut file, symbols.len(), layout);
    }
    file.extend_from_slice(b"what follows in .rodata");
    file
}

/// One segment: the whole file, and much .bss.
fn elf_header(layout: Layout) -> Vec<u8> {
    const MEMORY: u64 = 0x100_0000;
    let wide = layout.word == 8;
    let mut file = b"\x7fELF".to_vec();
    let put = |file: &mut Vec<u8>, value: u64, size: usize| {
        file.extend_from_slice(&value.to_le_bytes()[..size]);
    };
    file.extend_from_slice(&[if wide { 2 } else { 1 }, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    put(&mut file, 2, 2); // ET_EXEC
    put(&mut file, if wide { 62 } else { 3 }, 2);
    put(&mut file, 1, 4);
    put(&mut file, layout.text(), layout.word);
    let header_size = if wide { 64 } else { 52 };
    put(&mut file, header_size, layout.word);
    put(&mut file, 0, layout.word);
    put(&mut file, 0, 4);
    let segment_size = if wide { 56 } else { 32 };
    for half in [header_size, segment_size, 1, 0, 0, 0] {
        put(&mut file, half, 2);
    }
    put(&mut file, 1, 4); // PT_LOAD
    if wide {
        put(&mut file, 5, 4);
    }
    let size = if wide { 0x8_0000 } else { 0x4_0000 };
    for word in [0, layout.text(), layout.text() & 0xfff_ffff, size, MEMORY] {
        put(&mut file, word, layout.word);
    }
    if !wide {
        put(&mut file, 5, 4);
    }
    put(&mut file, 0x1000, layout.word);
    file
}

/// Each byte that occurs stands for itself, the others for pieces of names.
fn tokens_for(symbols: &[Input]) -> Vec<Vec<u8>> {
    const PIECES: [&str; 6] = ["t__x64_sys_", "__", "_read", "tfoo", "bar", "_"];
    let mut tokens = vec![Vec::new(); 256];
    for symbol in symbols {
        for byte in symbol.name.bytes().chain([symbol.kind]) {
            tokens[usize::from(byte)] = vec![byte];
        }
    }
    // As in the kernel, from above. What stays empty is never used.
    for (token, piece) in tokens.iter_mut().rev().filter(|token| token.is_empty()).zip(PIECES) {
        *token = piece.into();
    }
    tokens
}

fn align(file: &mut Vec<u8>, layout: Layout) {
    file.resize(file.len().next_multiple_of(layout.align()), 0);
}

fn put_addresses(file: &mut Vec<u8>, symbols: &[Input], layout: Layout) {
    align(file, layout);
    let base = symbols.iter().map(|s| s.address).find(|a| *a >= layout.text()).unwrap();
    for Input { address, .. } in symbols {
        let offset = match layout.addresses {
            Addresses::Pointers => {
                file.extend_from_slice(&address.to_le_bytes()[..layout.word]);
                continue;
            }
            Addresses::AbsolutePercpu if *address < base => *address,
            Addresses::AbsolutePercpu => !(address - base),
            Addresses::Based => address - base,
            Addresses::SelfRelative => address.wrapping_sub(TEXT + file.len() as u64),
        };
        file.extend_from_slice(&(offset as u32).to_le_bytes());
    }
    if matches!(layout.addresses, Addresses::AbsolutePercpu | Addresses::Based) {
        align(file, layout);
        file.extend_from_slice(&base.to_le_bytes()[..layout.word]);
    }
}

fn put_names(file: &mut Vec<u8>, symbols: &[Input], tokens: &[Vec<u8>], layout: Layout) {
    align(file, layout);
    file.extend_from_slice(&symbols.len().to_le_bytes()[..layout.number]);
    align(file, layout);
    let start = file.len();
    let mut markers = Vec::new();
    for (i, symbol) in symbols.iter().enumerate() {
        if i % 256 == 0 {
            markers.push(file.len() - start);
        }
        let packed = pack(&[&[symbol.kind], symbol.name.as_bytes()].concat(), tokens);
        if packed.len() < 0x80 {
            file.push(packed.len() as u8);
        } else {
            file.extend_from_slice(&[packed.len() as u8 | 0x80, (packed.len() >> 7) as u8]);
        }
        file.extend_from_slice(&packed);
    }
    align(file, layout);
    for marker in markers {
        file.extend_from_slice(&marker.to_le_bytes()[..layout.number]);
    }
}

/// The longest token each time.
fn pack(mut name: &[u8], tokens: &[Vec<u8>]) -> Vec<u8> {
    let mut packed = Vec::new();
    while !name.is_empty() {
        let fits = |token: &Vec<u8>| !token.is_empty() && name.starts_with(token);
        let best = (0..256).filter(|i| fits(&tokens[*i])).max_by_key(|i| tokens[*i].len()).unwrap();
        packed.push(best as u8);
        name = &name[tokens[best].len()..];
    }
    packed
}

/// Their order does not matter here.
fn put_seqs(file: &mut Vec<u8>, count: usize, layout: Layout) {
    if layout.seqs != 0 {
        align(file, layout);
        for i in (0..count as u32).rev() {
            file.extend_from_slice(&i.to_be_bytes()[4 - layout.seqs..]);
        }
    }
}

fn put_tokens(file: &mut Vec<u8>, tokens: &[Vec<u8>], layout: Layout) {
    align(file, layout);
    let mut index = Vec::new();
    let mut at = 0_u16;
    for token in tokens {
        index.extend_from_slice(&at.to_le_bytes());
        file.extend_from_slice(token);
        file.push(0);
        at += token.len() as u16 + 1;
    }
    align(file, layout);
    file.extend_from_slice(&index);
}

fn input(address: u64, kind: u8, name: &str) -> Input {
    Input { address, kind, name: name.to_owned() }
}

/// Enough symbols for tables to be found, at the beginning of .text, 16 bytes each.
fn many(layout: Layout) -> Vec<Input> {
    (0..300).map(|i| input(layout.text() + 16 * i, b't', &format!("foo{i}_0123456789"))).collect()
}

fn names_at(symbols: &[Symbol], address: u64) -> Vec<(&str, u64)> {
    symbols.iter().filter(|s| s.address == address).map(|s| (s.name.as_str(), s.size)).collect()
}

#[test]
fn every_layout_is_found() {
    for layout in LAYOUTS {
        let inputs = many(layout);
        let symbols = decode(&vmlinux(&inputs, layout)).unwrap_or_else(|| panic!("{layout:?}"));
        assert_eq!(symbols.len(), 300, "{layout:?}");
        assert_eq!(names_at(&symbols, layout.text() + 16 * 77), [("foo77_0123456789", 16)], "{layout:?}");
    }
}

#[test]
fn padding_on_both_sides_of_the_order_by_name_is_no_obstacle() {
    for layout in LAYOUTS {
        for extra in 0..16 {
            let mut inputs = many(layout);
            let after = layout.text() + 16 * 300;
            inputs.extend((0..extra).map(|i| input(after + i, b't', &format!("bar{i}"))));
            let symbols = decode(&vmlinux(&inputs, layout)).unwrap_or_else(|| panic!("{layout:?} {extra}"));
            assert_eq!(symbols.len(), inputs.len());
        }
    }
}

#[test]
fn the_kernels_first_alias_comes_last_and_has_the_size() {
    let mut inputs = many(LAYOUTS[0]);
    let end = TEXT + 16 * 300;
    for name in ["do_it", "__do_it", "__start_it"] {
        inputs.push(input(end, b'T', name));
    }
    inputs.push(input(end + 0x40, b'D', "_end"));
    let symbols = decode(&vmlinux(&inputs, LAYOUTS[0])).unwrap();
    assert_eq!(names_at(&symbols, end), [("__start_it", 0), ("__do_it", 0), ("do_it", 0x40)]);
    assert_eq!(names_at(&symbols, end + 0x40), [("_end", 0)]);
}

#[test]
fn offsets_into_the_per_cpu_area_and_the_module_loaders_names_are_left_out() {
    for layout in LAYOUTS.into_iter().filter(|layout| layout.has_percpu()) {
        let mut inputs: Vec<Input> =
            (0..40).map(|i| input(8 * i, b'A', &format!("percpu_{i}"))).chain(many(layout)).collect();
        let end = TEXT + 16 * 300;
        inputs.push(input(end, b'r', "__ksymtab_foo1"));
        inputs.push(input(end + 12, b'r', "__kstrtab_foo1"));
        inputs.push(input(end + 17, b'D', "jiffies"));
        let symbols = decode(&vmlinux(&inputs, layout)).unwrap();
        assert_eq!(symbols.len(), 301, "{layout:?}");
        // What is left out is not part of what was before it.
        assert_eq!(names_at(&symbols, end - 16), [("foo299_0123456789", 16)], "{layout:?}");
        assert_eq!(names_at(&symbols, end + 17), [("jiffies", 0)], "{layout:?}");
    }
}

#[test]
fn rust_names_are_readable() {
    let mut inputs = many(LAYOUTS[10]);
    inputs.push(input(TEXT + 0x8000, b't', "_RNvCskwGfYPst2Cb_3foo16example_function"));
    let symbols = decode(&vmlinux(&inputs, LAYOUTS[10])).unwrap();
    assert_eq!(symbols.last().unwrap().name, "foo::example_function");
}

#[test]
fn a_name_of_many_tokens_has_two_bytes_of_length() {
    let long = format!("z{}", "q9".repeat(200));
    let mut inputs = many(LAYOUTS[7]);
    inputs.push(input(TEXT + 0x8000, b't', &long));
    let symbols = decode(&vmlinux(&inputs, LAYOUTS[7])).unwrap();
    assert_eq!(symbols.last().unwrap().name, long);
}

#[test]
fn a_kernel_without_tables_says_what_was_looked_for() {
    let mut file = elf_header(LAYOUTS[0]);
    file.resize(0x2000, 0);
    let error = symbols("vmlinux", &file).unwrap_err().to_string();
    assert!(error.contains("CONFIG_KALLSYMS") && error.contains("System.map"), "{error}");
}

#[test]
fn tables_that_lie_everywhere_end_the_search() {
    // Each number could be a count, each name is possible, and no marker is right.
    let mut file = elf_header(LAYOUTS[0]);
    file.resize(TABLES, 0);
    for _ in 0..1 << 15 {
        file.extend_from_slice(&[3, 1, 0, 0]);
    }
    let tokens: Vec<Vec<u8>> = (0..=255).map(|i| vec![if i < 0x30 { b't' } else { i.max(1) }]).collect();
    put_tokens(&mut file, &tokens, LAYOUTS[0]);
    file.resize(0x8_0000, 0);
    let image = Image::parse(&file).unwrap();
    let found = tokens::find(&image).next().unwrap();
    let mut patience = Patience(1 << 20);
    assert!(names::find(&image, &found, &mut patience).is_none());
    assert_eq!(patience.0, 0, "the search would have gone on");
}

/// Names, steps between addresses, and letters.
fn inputs() -> impl Strategy<Value = Vec<(String, u64, u8)>> {
    let name = prop_oneof!["[a-z_][a-zA-Z0-9_.]{0,20}", "(__x64_sys)?_[a-d]{1,3}_read", "[a-z]{120,300}"];
    let step = prop_oneof![Just(0_u64), 1_u64..0x100, Just(0x1000)];
    let kind = prop::sample::select(b"tTdDbBrRwVA".to_vec());
    prop::collection::vec((name, step, kind), 257..600)
}

/// Some of the names are mangled ones by chance.
fn readable(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_was_encoded_is_decoded(
        list in inputs(),
        percpu in 0_usize..100,
        layout in prop::sample::select(LAYOUTS.to_vec()),
    ) {
        let percpu = if layout.has_percpu() { percpu } else { 0 };
        let mut address = 0;
        let mut inputs: Vec<Input> = Vec::new();
        for (i, (name, step, kind)) in list.iter().enumerate() {
            address = if i == percpu { layout.text() } else { address + step };
            inputs.push(input(address, *kind, name));
        }
        inputs.push(input(address + 1, b't', "all_0123456789"));

        let symbols = decode(&vmlinux(&inputs, layout)).expect("tables");

        let mut expected: Vec<(u64, String)> =
            inputs[percpu..].iter().rev().map(|s| (s.address, readable(&s.name))).collect();
        expected.sort_by_key(|(address, _)| *address);
        let found: Vec<(u64, String)> = symbols.iter().map(|s| (s.address, s.name.clone())).collect();
        prop_assert_eq!(found, expected);
        for pair in symbols.windows(2) {
            let reaches = if pair[0].address == pair[1].address { 0 } else { pair[1].address - pair[0].address };
            prop_assert_eq!(pair[0].size, reaches);
        }
    }

    #[test]
    fn damage_never_panics(
        layout in prop::sample::select(LAYOUTS.to_vec()),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut file = vmlinux(&many(layout), layout);
        for (at, byte) in damage {
            let at = at.index(file.len());
            file[at] = byte;
        }
        let _ = decode(&file);
        file.truncate(cut.index(file.len()));
        let _ = decode(&file);
    }
}
