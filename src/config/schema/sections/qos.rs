//! `[qos]`.

use super::{key, text};
use crate::config::schema::Absent::Means;
use crate::config::schema::{Form, Kind, Priority, Section};

/// `[qos]`.
pub static QOS: Section = Section {
    name: "qos",
    form: Form::Single,
    required: false,
    doc: "Priorities: those of VLAN tags (PCP, 0 to 7) and those of IP headers (DSCP, 0 to 63, or its name). A map is a \
          table in braces, with the priorities that become another; for the others holds what stands under \"without it\".",
    keys: &[
        key(
            "outer_from_dscp",
            Kind::PriorityMap(Priority::Dscp, Priority::Dscp),
            Means("the same DSCP"),
            "{ EF = \"EF\", AF41 = \"AF31\", 0 = 8 }",
            "What becomes of an inner DSCP as the outer one of what is sent to remote VTEPs, where `vtep.dscp` is \"map\".",
        ),
        key(
            "outer_from_pcp",
            Kind::PriorityMap(Priority::Pcp, Priority::Dscp),
            Means("the class selector of the number: 5 becomes CS5"),
            "{ 5 = \"EF\", 1 = \"LE\" }",
            "What becomes of the PCP of an access tag as outer DSCP, where `vtep.dscp` is \"pcp\".",
        ),
        key(
            "access_pcp",
            Kind::Choice(&["zero", "map"]),
            text("zero"),
            "\"map\"",
            "The PCP of the tags that frames get on access ports. \"zero\": 0. \"map\": of what comes from remote VTEPs, by \
             the outer DSCP and `pcp_from_outer`; what is switched between access ports keeps its own.",
        ),
        key(
            "pcp_from_outer",
            Kind::PriorityMap(Priority::Dscp, Priority::Pcp),
            Means("the upper three bits: CS5, AF5x and EF become 5"),
            "{ EF = 5, CS6 = 6 }",
            "What becomes of an outer DSCP as PCP, where `access_pcp` is \"map\".",
        ),
        key(
            "inner_dscp",
            Kind::Choice(&["keep", "map"]),
            text("keep"),
            "\"keep\"",
            "The DSCP of what comes from remote VTEPs. \"keep\": as it was sent (RFC 2983, 3.1: pipe). \"map\": by the outer \
             DSCP and `dscp_from_outer` (uniform). The ECN field is dealt with by RFC 6040 in either case.",
        ),
        key(
            "dscp_from_outer",
            Kind::PriorityMap(Priority::Dscp, Priority::Dscp),
            Means("the same DSCP"),
            "{ CS1 = \"LE\" }",
            "What becomes of an outer DSCP as inner one, where `inner_dscp` is \"map\".",
        ),
    ],
    example: "[qos]\nouter_from_dscp = { EF = \"EF\", AF41 = \"AF31\", 0 = 8 }\nouter_from_pcp = { 5 = \"EF\", 1 = \"LE\" }\n\
              access_pcp = \"map\"\npcp_from_outer = { EF = 5, CS6 = 6 }\ninner_dscp = \"keep\"\n\
              dscp_from_outer = { CS1 = \"LE\" }\n",
};
