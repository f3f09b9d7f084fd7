//! The target description, an XML document that tells GDB which registers there are. It is made from the table.

use std::fmt::Write as _;

use super::{Feature, Register};

/// A field of flags: name, first bit, last bit.
type Field = (&'static str, u8, u8);

/// A register that is a set of flags: its type's name, its size in bytes, its fields.
struct Flags {
    name: &'static str,
    bytes: u8,
    fields: &'static [Field],
}

const fn bit(name: &'static str, at: u8) -> Field {
    (name, at, at)
}

const EFLAGS: Flags = Flags {
    name: "i386_eflags",
    bytes: 4,
    fields: &[
        bit("CF", 0),
        bit("", 1),
        bit("PF", 2),
        bit("AF", 4),
        bit("ZF", 6),
        bit("SF", 7),
        bit("TF", 8),
        bit("IF", 9),
        bit("DF", 10),
        bit("OF", 11),
        ("IOPL", 12, 13),
        bit("NT", 14),
        bit("RF", 16),
        bit("VM", 17),
        bit("AC", 18),
        bit("VIF", 19),
        bit("VIP", 20),
        bit("ID", 21),
    ],
};

const MXCSR: Flags = Flags {
    name: "i386_mxcsr",
    bytes: 4,
    fields: &[
        bit("IE", 0),
        bit("DE", 1),
        bit("ZE", 2),
        bit("OE", 3),
        bit("UE", 4),
        bit("PE", 5),
        bit("DAZ", 6),
        bit("IM", 7),
        bit("DM", 8),
        bit("ZM", 9),
        bit("OM", 10),
        bit("UM", 11),
        bit("PM", 12),
        ("RC", 13, 14),
        bit("FZ", 15),
    ],
};

const CR0: Flags = Flags {
    name: "x86_cr0",
    bytes: 8,
    fields: &[
        bit("PE", 0),
        bit("MP", 1),
        bit("EM", 2),
        bit("TS", 3),
        bit("ET", 4),
        bit("NE", 5),
        bit("WP", 16),
        bit("AM", 18),
        bit("NW", 29),
        bit("CD", 30),
        bit("PG", 31),
    ],
};

const CR3: Flags = Flags {
    name: "x86_cr3",
    bytes: 8,
    fields: &[("PCID", 0, 11), ("PDBR", 12, 51), bit("LAM_U57", 61), bit("LAM_U48", 62)],
};

const CR4: Flags = Flags {
    name: "x86_cr4",
    bytes: 8,
    fields: &[
        bit("VME", 0),
        bit("PVI", 1),
        bit("TSD", 2),
        bit("DE", 3),
        bit("PSE", 4),
        bit("PAE", 5),
        bit("MCE", 6),
        bit("PGE", 7),
        bit("PCE", 8),
        bit("OSFXSR", 9),
        bit("OSXMMEXCPT", 10),
        bit("UMIP", 11),
        bit("LA57", 12),
        bit("VMXE", 13),
        bit("SMXE", 14),
        bit("FSGSBASE", 16),
        bit("PCIDE", 17),
        bit("OSXSAVE", 18),
        bit("KL", 19),
        bit("SMEP", 20),
        bit("SMAP", 21),
        bit("PKE", 22),
        bit("CET", 23),
        bit("PKS", 24),
        bit("LAM_SUP", 28),
    ],
};

const EFER: Flags = Flags {
    name: "x86_efer",
    bytes: 8,
    fields: &[
        bit("SCE", 0),
        bit("LME", 8),
        bit("LMA", 10),
        bit("NXE", 11),
        bit("SVME", 12),
        bit("LMSLE", 13),
        bit("FFXSR", 14),
        bit("TCE", 15),
    ],
};

/// As in a descriptor's second half, from its bit 8 on.
const SEGMENT: Flags = Flags {
    name: "x86_segment",
    bytes: 4,
    fields: &[
        ("TYPE", 0, 3),
        bit("S", 4),
        ("DPL", 5, 6),
        bit("P", 7),
        bit("AVL", 12),
        bit("L", 13),
        bit("DB", 14),
        bit("G", 15),
        bit("UNUSABLE", 16),
    ],
};

const APIC_BASE: Flags = Flags {
    name: "x86_apic_base",
    bytes: 8,
    fields: &[bit("BSP", 8), bit("EXTD", 10), bit("EN", 11), ("PAGE", 12, 51)],
};

/// With the feature that is the first to use them.
const FLAGS: [(Feature, Flags); 8] = [
    (Feature::Core, EFLAGS),
    (Feature::Sse, MXCSR),
    (Feature::Control, CR0),
    (Feature::Control, CR3),
    (Feature::Control, CR4),
    (Feature::Control, EFER),
    (Feature::Descriptors, SEGMENT),
    (Feature::Msr, APIC_BASE),
];

/// What an SSE register can be looked at as: name, element, count.
const VECTORS: [(&str, &str, u8); 7] = [
    ("v4_float", "ieee_single", 4),
    ("v2_double", "ieee_double", 2),
    ("v16_int8", "int8", 16),
    ("v8_int16", "int16", 8),
    ("v4_int32", "int32", 4),
    ("v2_int64", "int64", 2),
    ("uint128", "", 0),
];

/// `target.xml`, with or without AVX.
pub(crate) fn description(avx: bool) -> String {
    let mut xml = String::from(
        "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n<target version=\"1.0\">\n\
         <architecture>i386:x86-64</architecture>\n",
    );
    for feature in Feature::ALL.into_iter().filter(|feature| avx || *feature != Feature::Avx) {
        line(&mut xml, format_args!("<feature name=\"{}\">", feature.name()));
        for (_, flags) in FLAGS.iter().filter(|(first, _)| *first == feature) {
            write_flags(&mut xml, flags);
        }
        if feature == Feature::Sse {
            write_vectors(&mut xml);
        }
        for register in Register::ALL.iter().filter(|register| register.spec().feature == feature) {
            write_register(&mut xml, *register);
        }
        line(&mut xml, format_args!("</feature>"));
    }
    xml.push_str("</target>\n");
    xml
}

fn line(xml: &mut String, text: std::fmt::Arguments<'_>) {
    // A string takes everything.
    let _ = writeln!(xml, "{text}");
}

fn write_flags(xml: &mut String, flags: &Flags) {
    line(xml, format_args!("<flags id=\"{}\" size=\"{}\">", flags.name, flags.bytes));
    for (name, start, end) in flags.fields {
        line(xml, format_args!("<field name=\"{name}\" start=\"{start}\" end=\"{end}\"/>"));
    }
    line(xml, format_args!("</flags>"));
}

fn write_vectors(xml: &mut String) {
    for (name, element, count) in VECTORS.iter().filter(|(_, _, count)| *count > 0) {
        line(xml, format_args!("<vector id=\"{name}\" type=\"{element}\" count=\"{count}\"/>"));
    }
    line(xml, format_args!("<union id=\"vec128\">"));
    for (name, _, _) in VECTORS {
        line(xml, format_args!("<field name=\"{name}\" type=\"{name}\"/>"));
    }
    line(xml, format_args!("</union>"));
}

/// With its number, so that one that GDB does not know moves none that it does.
fn write_register(xml: &mut String, register: Register) {
    let spec = register.spec();
    line(
        xml,
        format_args!(
            "<reg name=\"{}\" bitsize=\"{}\" type=\"{}\" regnum=\"{}\"/>",
            spec.name,
            spec.bits,
            spec.kind,
            register.number()
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_defined_before_it_is_used() {
        let xml = description(true);
        let known =
            ["int", "int32", "int64", "uint32", "uint64", "uint128", "data_ptr", "code_ptr", "i387_ext"];
        for register in Register::ALL {
            let Some(kind) = Some(register.spec().kind).filter(|kind| !known.contains(kind)) else {
                continue;
            };
            let defined = xml.find(&format!("id=\"{kind}\"")).expect(kind);
            let used = xml.find(&format!("type=\"{kind}\" regnum=")).expect(kind);
            assert!(defined < used, "{kind}");
        }
    }

    #[test]
    fn flags_fit_into_their_registers() {
        for (_, flags) in &FLAGS {
            let mut free = 0;
            for (name, start, end) in flags.fields {
                assert!(free <= *start && start <= end && *end < flags.bytes * 8, "{} {name}", flags.name);
                free = end + 1;
            }
            for register in Register::ALL.iter().filter(|register| register.spec().kind == flags.name) {
                assert_eq!(register.bytes(), usize::from(flags.bytes), "{}", flags.name);
            }
        }
    }

    #[test]
    fn avx_only_adds_to_the_end() {
        let (without, with) = (description(false), description(true));
        let common = without.trim_end().trim_end_matches("</target>");
        assert!(with.starts_with(common) && with.contains("ymm15h") && !without.contains("ymm"));
    }

    #[test]
    fn the_description() {
        insta::assert_snapshot!(description(true));
    }
}
