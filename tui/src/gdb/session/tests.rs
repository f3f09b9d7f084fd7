//! The protocol, byte by byte, against a model.

use proptest::prelude::*;

use super::*;
use crate::gdb::debuggee::PointKind;
use crate::gdb::model::{END, Model, TRIPLE_FAULT};
use crate::gdb::packet::hex;

/// A client that waits for an answer to everything.
struct Client<'d> {
    session: Session<'d>,
}

impl<'d> Client<'d> {
    fn new(model: &'d mut Model) -> Self {
        Self { session: Session::new(model, 0) }
    }

    /// Polls until nothing is left to do but wait for the client.
    fn settle(&mut self) -> Option<End> {
        for _ in 0..10_000 {
            match self.session.poll() {
                Next::Poll => {}
                Next::Wait => return None,
                Next::Over(end) => return Some(end),
            }
        }
        panic!("it goes on for ever");
    }

    /// The bodies of all packets that come after `bytes`.
    fn raw(&mut self, bytes: &[u8]) -> Vec<String> {
        self.session.receive(bytes);
        self.settle();
        let mut framer = Framer::default();
        let packets = self.session.take_output().into_iter().filter_map(|byte| match framer.push(byte)? {
            Incoming::Packet(body) => Some(String::from_utf8_lossy(&body).into_owned()),
            _ => None,
        });
        packets.collect()
    }

    /// The one reply to `body`.
    fn ask(&mut self, body: &str) -> String {
        let mut replies = self.raw(&framed(body.as_bytes()));
        assert_eq!(replies.len(), 1, "{body}: {replies:?}");
        replies.pop().unwrap()
    }
}

#[test]
fn introductions() {
    let mut model = Model::new(2);
    let mut client = Client::new(&mut model);
    let features = client.ask("qSupported:multiprocess+;swbreak+;error-message+");
    insta::assert_snapshot!(features.replace(';', "\n"));
    assert_eq!(client.ask("vMustReplyEmpty"), "");
    assert_eq!(client.ask("?"), "T05thread:1;");
    assert_eq!(client.ask("qC"), "QC1");
    assert_eq!(client.ask("qfThreadInfo"), "m01,02");
    assert_eq!(client.ask("T2"), "OK");
    assert_eq!(client.ask("T3"), "E01");
    insta::assert_snapshot!(client.ask("qXfer:threads:read::0,1000"));
    assert_eq!(client.ask("qXfer:threads:read::1000,1000"), "l");
    assert!(client.ask("qXfer:features:read:target.xml:0,40").starts_with("m<?xml"));
}

#[test]
fn acknowledgements_end_when_they_are_not_wanted() {
    let mut model = Model::new(1);
    let mut session = Session::new(&mut model, 0);
    let mut says = |bytes: &[u8]| {
        session.receive(bytes);
        String::from_utf8_lossy(&session.take_output()).into_owned()
    };
    assert_eq!(says(b"$qC#b4"), "+$QC1#c5");
    assert_eq!(says(b"-"), "$QC1#c5");
    assert_eq!(says(b"$qC#b5"), "-");
    assert_eq!(says(&framed(b"QStartNoAckMode")), "+$OK#9a");
    assert_eq!(says(b"+$qC#b4"), "$QC1#c5");
    assert_eq!(says(b"$qC#b5"), "");
}

#[test]
fn registers() {
    let mut model = Model::new(2);
    let mut client = Client::new(&mut model);
    assert!(client.ask("g").starts_with("3412000000000000xxxxxxxxxxxxxxxx"));
    assert_eq!(client.ask("p0"), "3412000000000000");
    assert_eq!(client.ask("p1"), "xxxxxxxxxxxxxxxx");
    assert_eq!(client.ask("pffff"), "");
    assert_eq!(client.ask("Hg2"), "OK");
    assert_eq!(client.ask("P1=1100000000000000"), "OK");
    assert_eq!(client.ask("p1"), "1100000000000000");
    assert_eq!(client.ask("Hg1"), "OK");
    assert_eq!(client.ask("p1"), "xxxxxxxxxxxxxxxx", "it is the other thread's");
    assert_eq!(client.ask("P1=11"), "E01");
    // All of them: what was not known is not taken for something.
    let all = client.ask("g").replace('x', "0").replacen("3412", "7856", 1);
    assert_eq!(client.ask(&format!("G{all}")), "OK");
    assert_eq!(
        (client.ask("p0").as_str(), client.ask("p1").as_str()),
        ("7856000000000000", "xxxxxxxxxxxxxxxx")
    );
    assert_eq!(client.ask("G00"), "E01");
}

#[test]
fn memory() {
    let mut model = Model::new(1);
    let mut client = Client::new(&mut model);
    assert_eq!(client.ask("M10,2:abcd"), "OK");
    assert_eq!(client.ask("mf,4"), "00abcd00");
    assert_eq!(client.ask("X20,0:"), "OK");
    assert_eq!(client.ask("mffffe,8"), "0000", "as much as there is");
    assert_eq!(client.ask("m100000,1"), "E01");
    assert_eq!(client.ask("mffffffffffffffff,ffffffffffffffff"), "E01");
    assert_eq!(client.ask("m0,ffffffffffffffff").len() / 2, LONGEST / 2 - 16);
    assert_eq!(client.ask("Mfffff,2:0000"), "E01");
}

#[test]
fn errors_in_words() {
    let mut model = Model::new(1);
    let mut client = Client::new(&mut model);
    assert_eq!(client.ask("m100000,1"), "E01");
    assert_eq!(
        client.raw(&framed(b"qRcmd,776879")),
        [format!("O{}", hex(b"0x100000 is not mapped\n")), "OK".into()]
    );
    client.ask("qSupported:error-message+");
    assert_eq!(client.ask("m100000,1"), "E.0x100000 is not mapped");
    assert_eq!(client.ask("QCatchSyscalls:1"), "E.there are no system calls");
    assert_eq!(client.ask("H?"), "E.this request is malformed, or not one for this target");
}

#[test]
fn breakpoints_steps_and_the_end() {
    let mut model = Model::new(2);
    let mut client = Client::new(&mut model);
    assert_eq!(client.ask("Z0,1010,1"), "OK");
    assert_eq!(client.ask("Z2,1020,8"), "OK");
    assert_eq!(client.ask("vCont;c"), "T05thread:01;swbreak:;");
    assert_eq!(client.ask("vCont;c:1"), "T05thread:01;watch:1020;", "the other one stays where it is");
    assert_eq!(client.ask("Hg2"), "OK");
    assert_eq!(client.ask("p10"), "0010000000000000");
    assert_eq!(client.ask("vCont;s:2"), "T05thread:02;");
    assert_eq!(client.ask("vCont;r1000,1008:2"), "T05thread:02;");
    assert_eq!(client.ask("p10"), "0810000000000000");
    assert_eq!(client.ask("bs"), "T05thread:02;");
    assert_eq!(client.ask("p10"), "0710000000000000");
    assert_eq!(client.ask("z0,1010,1"), "OK");
    assert_eq!(client.ask("z2,1020,8"), "OK");
    assert_eq!(client.ask("bc"), "T05thread:02;replaylog:begin;");
    let end = client.raw(&framed(b"c"));
    assert_eq!(end.len(), 2, "{end:?}");
    assert!(end[0].starts_with('O'));
    assert_eq!(end[1], "W07");
    assert_eq!(client.settle(), Some(End::DebuggeeEnded));
}

/// Somebody else ends it: whoever quits the UI, or a time limit.
#[test]
fn an_end_while_nothing_moves_is_told_when_it_is_to_move() {
    for motion in ["vCont;c", "vCont;s:1", "bs"] {
        let mut model = Model::new(1);
        model.ended = true;
        let mut client = Client::new(&mut model);
        assert_eq!(client.ask("qC"), "QC1");
        assert!(client.session.has_news());
        assert_eq!(client.ask("?"), "W07");
        let end = client.raw(&framed(motion.as_bytes()));
        let words = hex(b"vmscope: the guest has ended: the guest exited with status 7\n");
        assert_eq!(end, [format!("O{words}"), "W07".to_owned()], "{motion}");
        assert_eq!(client.settle(), Some(End::DebuggeeEnded));
    }
}

#[test]
fn breakpoints_without_end_are_refused() {
    let mut model = Model::new(1);
    let mut client = Client::new(&mut model);
    client.ask("qSupported:error-message+");
    let most = 1 << 16;
    for address in 0..most {
        assert_eq!(client.ask(&format!("Z{},{:x},1", address % 3, 0x10_0000 + address)), "OK");
    }
    let refused = "E.there are 65536 breakpoints already, and no more are taken";
    assert_eq!((client.ask("Z0,5,1").as_str(), client.ask("Z4,5,1").as_str()), (refused, refused));
    assert_eq!(client.ask("Z0,100000,1"), "OK", "it is there");
    assert_eq!(client.ask("z0,100000,1"), "OK");
    assert_eq!((client.ask("Z0,5,1").as_str(), client.ask("Z0,6,1").as_str()), ("OK", refused));
    let numbers = (0..1025).map(|number| format!(";{number:x}")).collect::<String>();
    let refused = client.ask(&format!("QCatchSyscalls:1{numbers}"));
    assert_eq!(refused, "E.no more than 1024 system calls are caught by number; catch them all");
    drop(client);
    assert_eq!(model.points.len(), most);
}

#[test]
fn ctrl_c_stops_what_runs_and_nothing_else() {
    let mut model = Model::new(1);
    model.points.insert(crate::gdb::debuggee::Point { kind: PointKind::Write, address: END + 5, len: 1 });
    let mut client = Client::new(&mut model);
    assert_eq!(client.raw(b"\x03\x03"), Vec::<String>::new());
    client.session.receive(&framed(b"vCont;c"));
    assert_eq!(client.session.poll(), Next::Poll);
    assert_eq!(client.raw(b"\x03"), ["T02thread:01;"]);
    assert_eq!(client.ask("vCont;s:1"), "T05thread:01;");
}

#[test]
fn a_guest_that_runs_answers_nothing_but_leave() {
    let mut model = Model::new(1);
    let mut client = Client::new(&mut model);
    client.session.receive(&framed(b"c"));
    client.session.receive(&framed(b"g"));
    assert_eq!(client.session.take_output(), b"++$E01#a6");
    client.session.receive(&framed(b"D"));
    assert_eq!((client.settle(), client.session.take_output()), (Some(End::Detached), b"+$OK#9a".to_vec()));
}

#[test]
fn what_cannot_move_says_why() {
    let mut model = Model::new(1);
    let mut client = Client::new(&mut model);
    let replies = client.raw(&framed(b"vCont;s:7"));
    assert_eq!(
        replies[0],
        format!("O{}", hex(b"vmscope: there is no thread 7: vCPUs are the threads 1 to 1\n"))
    );
    assert_eq!(replies[1], "T05thread:01;");
    assert_eq!(client.ask("g").len() % 2, 0, "and it goes on");
}

#[test]
fn a_triple_fault_after_which_kvm_has_reset_the_vcpu_is_said_to_be_one() {
    let mut model = Model::new(1);
    let mut client = Client::new(&mut model);
    assert_eq!(client.ask(&format!("P10={}", hex(&(TRIPLE_FAULT - 1).to_le_bytes()))), "OK");
    let replies = client.raw(&framed(b"vCont;c"));
    assert_eq!(replies.len(), 2, "{replies:?}");
    assert!(replies[0].contains(&hex(b"about to end: triple fault; ")), "{replies:?}");
    assert!(replies[0].contains(&hex(b"KVM has reset this vCPU")), "{replies:?}");
    assert_eq!(replies[1], "T0bthread:01;");
}

#[test]
fn leaving() {
    for (packet, end) in [("k", End::Killed), ("vKill;a410", End::Killed), ("D;1", End::Detached)] {
        let mut model = Model::new(1);
        let mut client = Client::new(&mut model);
        let replies = client.raw(&framed(packet.as_bytes()));
        assert_eq!(replies.len(), usize::from(packet != "k"), "{packet}");
        assert_eq!(client.settle(), Some(end));
        assert!(client.raw(&framed(b"g")).is_empty(), "there is nobody any more");
    }
}

#[test]
fn long_output_comes_in_pieces() {
    let mut model = Model::new(1);
    let mut client = Client::new(&mut model);
    let mut replies = client.raw(&framed(format!("qRcmd,{}", hex(b"events 1000")).as_bytes()));
    assert_eq!(replies.pop().as_deref(), Some("OK"));
    assert!(
        replies.len() > 2 && replies.iter().all(|reply| reply.starts_with('O') && reply.len() <= LONGEST)
    );
    assert!(!replies.concat().contains("1b"), "a terminal would obey it");
}

#[test]
fn malformed_requests_end_no_session() {
    let requests = [
        "",
        "G",
        "Gzz",
        "M",
        "M0",
        "M0,1",
        "M0,1:",
        "M0,1:zz",
        "m",
        "m,",
        "m0",
        "m,1",
        "m0,1,2",
        "X",
        "X0,1",
        "P",
        "P0",
        "P0=",
        "P0=z",
        "p",
        "pz",
        "H",
        "Hq0",
        "Hgz",
        "Hg-2",
        "Hg-1",
        "Hc",
        "Z",
        "Z0",
        "Z9,0,1",
        "Z0,,1",
        "Z0,0,",
        "z0",
        "vCont;",
        "vCont;x",
        "vCont;s",
        "vCont;r:1",
        "vCont;r1:1",
        "vCont;t",
        "vCont;s:zz",
        "vCont;C",
        "vCont;s:0",
        "qXfer:",
        "qXfer:features:read:",
        "qXfer:features:read:other.xml:0,1",
        "qXfer:memory-map:read::z,1",
        "qXfer:threads:read::",
        "qXfer:threads:read::1",
        "qThreadExtraInfo,",
        "qThreadExtraInfo,99",
        "qRcmd",
        "qRcmd,z",
        "QCatchSyscalls",
        "QCatchSyscalls:2",
        "T",
        "Tz",
        "R",
        "!",
        "vRun;",
        "vAttach;1",
        "qSupported",
        "vKill",
        "k1",
        "D1",
        "mfffffffffffffffffffffffff,1",
        "Z0,fffffffffffffffffffffffff,1",
        "pffffffffffffffffff",
        "\u{0}",
        "\u{ff}",
    ];
    for request in requests {
        let mut model = Model::new(2);
        let mut client = Client::new(&mut model);
        client.raw(&framed(request.as_bytes()));
        // Those that move it come to a stop by themselves or are stopped.
        client.raw(b"\x03");
        if client.settle().is_none() {
            assert!(client.ask("qC").starts_with("QC"), "{request:?}");
            assert_eq!(client.ask("Hg2"), "OK", "{request:?}");
            assert_eq!(client.ask("p0"), "3412000000000000", "{request:?}");
        }
    }
}

#[test]
fn a_new_state_machine_knows_the_thread() {
    let mut model = Model::new(2);
    let mut client = Client::new(&mut model);
    client.ask("Hg2");
    client.ask("P0=0100000000000000");
    assert_eq!(client.ask("P0="), "E01");
    assert_eq!(client.ask("p0"), "0100000000000000");
}

/// Packets that look like requests, and those that do not.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "g",
        "G",
        "m",
        "M",
        "X",
        "p",
        "P",
        "H",
        "Hg",
        "Hc",
        "T",
        "Z0",
        "z0",
        "Z1",
        "Z2",
        "Z3",
        "Z4",
        "c",
        "s",
        "C",
        "S",
        "vCont;",
        "vCont;c",
        "vCont;s:1",
        "vCont;r0,10:1",
        "bs",
        "bc",
        "qRcmd,",
        "qXfer:features:read:target.xml:",
        "qXfer:memory-map:read::",
        "qXfer:threads:read::",
        "qSupported:",
        "qThreadExtraInfo,",
        "QCatchSyscalls:1;",
        "?",
        "QStartNoAckMode",
        "vFile:open",
        "qC",
        "qAttached",
    ]);
    let rest = prop_oneof![
        "[0-9a-f,;:=-]{0,24}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    prop_oneof![
        (word, rest).prop_map(|(word, rest)| framed(&[word.as_bytes(), &rest].concat())),
        prop::collection::vec(any::<u8>(), 0..40),
        Just(vec![0x03]),
    ]
}

proptest! {
    #[test]
    fn any_bytes_are_survived(requests in prop::collection::vec(request(), 0..40)) {
        let mut model = Model::new(3);
        let mut client = Client::new(&mut model);
        for request in requests {
            client.session.receive(&request);
            client.session.poll();
            prop_assert!(client.session.take_output().len() < 64 * LONGEST);
        }
        client.session.receive(b"\x03");
        client.settle();
    }
}
