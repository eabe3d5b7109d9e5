//! The functions that there are: their names, arguments and results; and those that there are not, with the reason.

use crate::fhir::dictionary::TypeId;

/// How an argument is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Argument {
    /// Once, of the focus.
    Value,
    /// For each node of the input, which is then `$this`.
    Each,
    /// The name of a type.
    Type,
}

/// What a function yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Yields {
    /// Nodes of the input.
    Input,
    /// What its (last) argument yields.
    Argument,
    /// What input or arguments yield.
    Both,
    /// One of FHIRPath's own types.
    System(TypeId),
    /// Decided where it is compiled.
    Special,
}

macro_rules! functions {
    ($($variant:ident $name:literal $least:literal $most:literal $argument:ident $yields:expr;)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Function { $($variant),* }

        /// Name, function, how many arguments at least and at most, how they are read, what it yields.
        pub(super) const FUNCTIONS: &[(&str, Function, usize, usize, Argument, Yields)] = {
            use Yields::{Both, Input, Special, System};
            &[$(($name, Function::$variant, $least, $most, self::Argument::$argument, $yields)),*]
        };
    };
}

const BOOLEAN: Yields = Yields::System(TypeId::BOOLEAN);
const STRING: Yields = Yields::System(TypeId::STRING);
const INTEGER: Yields = Yields::System(TypeId::INTEGER);

functions! {
    // 5.1 existence
    Empty "empty" 0 0 Value BOOLEAN;
    Exists "exists" 0 1 Each BOOLEAN;
    All "all" 1 1 Each BOOLEAN;
    AllTrue "allTrue" 0 0 Value BOOLEAN;
    AnyTrue "anyTrue" 0 0 Value BOOLEAN;
    AllFalse "allFalse" 0 0 Value BOOLEAN;
    AnyFalse "anyFalse" 0 0 Value BOOLEAN;
    SubsetOf "subsetOf" 1 1 Value BOOLEAN;
    SupersetOf "supersetOf" 1 1 Value BOOLEAN;
    Count "count" 0 0 Value INTEGER;
    Distinct "distinct" 0 0 Value Input;
    IsDistinct "isDistinct" 0 0 Value BOOLEAN;
    Not "not" 0 0 Value BOOLEAN;
    HasValue "hasValue" 0 0 Value BOOLEAN;
    GetValue "getValue" 0 0 Value Special;
    // 5.2 filtering and projection
    Where "where" 1 1 Each Input;
    Select "select" 1 1 Each Yields::Argument;
    Repeat "repeat" 1 1 Each Special;
    OfType "ofType" 1 1 Type Special;
    // 5.3 subsetting
    Single "single" 0 0 Value Input;
    First "first" 0 0 Value Input;
    Last "last" 0 0 Value Input;
    Tail "tail" 0 0 Value Input;
    Skip "skip" 1 1 Value Input;
    Take "take" 1 1 Value Input;
    Intersect "intersect" 1 1 Value Input;
    Exclude "exclude" 1 1 Value Input;
    // 5.4 combining
    Union "union" 1 1 Value Both;
    Combine "combine" 1 1 Value Both;
    // 5.5 conversion
    Iif "iif" 2 3 Each Special;
    ToBoolean "toBoolean" 0 0 Value BOOLEAN;
    ToInteger "toInteger" 0 0 Value INTEGER;
    ToDecimal "toDecimal" 0 0 Value System(TypeId::DECIMAL);
    ToString "toString" 0 0 Value STRING;
    ToDate "toDate" 0 0 Value System(TypeId::DATE);
    ToDateTime "toDateTime" 0 0 Value System(TypeId::DATE_TIME);
    ToTime "toTime" 0 0 Value System(TypeId::TIME);
    ToQuantity "toQuantity" 0 1 Value System(TypeId::QUANTITY);
    ConvertsToBoolean "convertsToBoolean" 0 0 Value BOOLEAN;
    ConvertsToInteger "convertsToInteger" 0 0 Value BOOLEAN;
    ConvertsToDecimal "convertsToDecimal" 0 0 Value BOOLEAN;
    ConvertsToString "convertsToString" 0 0 Value BOOLEAN;
    ConvertsToDate "convertsToDate" 0 0 Value BOOLEAN;
    ConvertsToDateTime "convertsToDateTime" 0 0 Value BOOLEAN;
    ConvertsToTime "convertsToTime" 0 0 Value BOOLEAN;
    ConvertsToQuantity "convertsToQuantity" 0 1 Value BOOLEAN;
    // 5.6 strings
    IndexOf "indexOf" 1 1 Value INTEGER;
    LastIndexOf "lastIndexOf" 1 1 Value INTEGER;
    Substring "substring" 1 2 Value STRING;
    StartsWith "startsWith" 1 1 Value BOOLEAN;
    EndsWith "endsWith" 1 1 Value BOOLEAN;
    Contains "contains" 1 1 Value BOOLEAN;
    Upper "upper" 0 0 Value STRING;
    Lower "lower" 0 0 Value STRING;
    Replace "replace" 2 2 Value STRING;
    Matches "matches" 1 1 Value BOOLEAN;
    MatchesFull "matchesFull" 1 1 Value BOOLEAN;
    ReplaceMatches "replaceMatches" 2 2 Value STRING;
    Length "length" 0 0 Value INTEGER;
    ToChars "toChars" 0 0 Value STRING;
    Trim "trim" 0 0 Value STRING;
    Split "split" 1 1 Value STRING;
    Join "join" 0 1 Value STRING;
    // 5.7 numbers
    Abs "abs" 0 0 Value Special;
    Ceiling "ceiling" 0 0 Value INTEGER;
    Floor "floor" 0 0 Value INTEGER;
    Round "round" 0 1 Value System(TypeId::DECIMAL);
    Truncate "truncate" 0 0 Value INTEGER;
    // 5.8 trees
    Children "children" 0 0 Value Special;
    Descendants "descendants" 0 0 Value Special;
    // 6.3 types
    Is "is" 1 1 Type BOOLEAN;
    As "as" 1 1 Type Special;
    // 7 aggregates
    Aggregate "aggregate" 1 2 Each Special;
    // FHIR's own
    Extension "extension" 1 1 Value Special;
    Resolve "resolve" 0 0 Value Special;
    // SQL on FHIR's
    GetReferenceKey "getReferenceKey" 0 1 Type STRING;
    GetResourceKey "getResourceKey" 0 0 Value STRING;
}

/// Functions of FHIRPath and FHIR that are left out, and what that means for a mapping.
pub(super) const LEFT_OUT: &[(&str, &str)] = &[
    ("now", "a mapping does not know the time: the same resource must always yield the same records"),
    ("today", "a mapping does not know the time: the same resource must always yield the same records"),
    ("timeOfDay", "a mapping does not know the time: the same resource must always yield the same records"),
    ("trace", "what patients' records say is not written to logs"),
    ("memberOf", "no terminology service is asked; use a table of the mapping"),
    ("subsumes", "no terminology service is asked; use a table of the mapping"),
    ("subsumedBy", "no terminology service is asked; use a table of the mapping"),
    ("conformsTo", "profiles are not checked"),
    ("checkModifiers", "profiles are not checked"),
    ("htmlChecks", "narratives are not checked"),
    ("elementDefinition", "profiles are not read"),
    ("slice", "profiles are not read"),
    ("type", "ask with `is` or `ofType` for the type that you expect"),
    ("defineVariable", "repeat the expression, or map it to a field of its own"),
    ("sort", "a mapping keeps the order of the source"),
    ("sqrt", "a mapping computes with whole and decimal numbers only"),
    ("exp", "a mapping computes with whole and decimal numbers only"),
    ("ln", "a mapping computes with whole and decimal numbers only"),
    ("log", "a mapping computes with whole and decimal numbers only"),
    ("power", "a mapping computes with whole and decimal numbers only"),
    ("encode", "base64, hex and escapes are not converted"),
    ("decode", "base64, hex and escapes are not converted"),
    ("escape", "base64, hex and escapes are not converted"),
    ("unescape", "base64, hex and escapes are not converted"),
    ("lowBoundary", "what is imprecise stays imprecise in a record"),
    ("highBoundary", "what is imprecise stays imprecise in a record"),
    ("precision", "what is imprecise stays imprecise in a record"),
    ("comparable", "compare; units that differ yield nothing"),
    ("toLong", "whole numbers are Integers here"),
    ("convertsToLong", "whole numbers are Integers here"),
    ("coalesce", "write a list of paths: the first that has a value is taken"),
    ("yearOf", "use substring() of toString()"),
    ("monthOf", "use substring() of toString()"),
    ("dayOf", "use substring() of toString()"),
    ("weight", "scores are not looked up"),
    ("ordinal", "scores are not looked up"),
    ("resolveAll", "write resolve(): it takes each of several references"),
    ("duration", "subtract nothing from dates; compare them"),
    ("difference", "subtract nothing from dates; compare them"),
    ("repeatAll", "write repeat(): what was found is not asked again"),
    ("getExtension", "write extension('url')"),
    ("hasExtension", "write extension('url').exists()"),
];
