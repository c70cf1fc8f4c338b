//! What text that speaks to its reader looks like, once its disguises are off.

use std::sync::OnceLock;

use regex::RegexSet;

use super::Kind;
use super::disguise::look_alike;

pub(super) struct Rules {
    pub set: RegexSet,
    pub each: Vec<(Kind, regex::Regex)>,
}

/// Verdict words that end an investigation.
const HARMLESS: &str = "(?:benign|normal|safe|harmless|non ?malicious|not malicious|non ?critical|not suspicious|\
    false positives?|legitimate|low (?:priority|severity|risk)|no (?:threat|risk))";

/// Patterns over folded text: lower case, `_`, `-` and `+` are spaces.
pub(super) fn patterns() -> Vec<(Kind, String)> {
    let mut out: Vec<(Kind, String)> = Vec::new();
    let mut add = |kind, list: &[&str]| out.extend(list.iter().map(|p| (kind, (*p).to_owned())));
    add(
        Kind::Override,
        &[
            r"\b(?:ignore|disregard|forget|overlook)\b.{0,40}\b(?:previous|prior|above|earlier|preceding|all|any|your|these|initial|original|system)\b.{0,25}\b(?:instructions?|prompts?|rules|directions|directives?|guidelines|commands|constraints|policies|training|programming|restrictions|conversation)\b",
            r"\b(?:override|bypass|skip|do not follow|don't follow|stop following)\b.{0,30}\b(?:your|previous|prior|system|all|the)\b.{0,20}\b(?:instructions|prompt|guidelines)\b",
            r"\b(?:ignoriere|vergiss|missachte)\w*\b.{0,40}\b(?:anweisung|instruktion|vorgabe)",
            r"\b(?:ignore[zr]?|oublie[zr]?)\b.{0,40}\b(?:instructions|consignes)\b.{0,20}\bpr[eé]c[eé]dent",
            r"\b(?:ignor[ae]|olvida|esquece|dimentica)\w*\b.{0,40}\b(?:instrucciones|instru[cç][oõ]es|istruzioni)\b",
            r"(?:忽略|无视|忘记).{0,12}(?:指令|指示|说明|提示)",
            r"(?:前|上記|以前).{0,8}(?:指示|命令).{0,4}無視",
            r"\b(?:игнорируй|забудь)\w*\b.{0,40}\b(?:инструкци|указани)",
            r"\bnegeer\b.{0,40}\b(?:instructies|aanwijzingen)\b",
            r"\b(?:z?ignoruj|zapomnij)\w*\b.{0,40}\b(?:instrukcj|polece)",
            r"\b(?:önceki|tüm)\b.{0,20}\btalimat\w*.{0,20}(?:yok say|unut|görmezden)",
            r"이전.{0,10}(?:지시|명령|지침).{0,12}(?:무시|잊)",
            r"تجاهل.{0,30}(?:التعليمات|الأوامر)",
            r"\b(?:ignore|disregard|forget)\b.{0,40}\band\b.{0,12}\b(?:state|say|repeat|output|print|answer|respond|write|conclude|report)\b",
            r"\b(?:ignore|disregard|forget) (?:everything|the above|all (?:of )?the above|what (?:you|was|i))\b",
            r"\bignore[zr]\b.{0,30}\b(?:et|puis)\b.{0,12}\b(?:indiqu|di[st]|affirm|répond)",
            r"\b(?:system|developer|god|debug|admin) mode (?:activated|enabled|on)\b|<system mode>",
            r"\byou(?:'ve| have)? been (?:instructed|told|ordered|reprogrammed) to\b",
        ],
    );
    add(
        Kind::Role,
        &[
            r"<\|(?:im start|im end|system|assistant|user|endoftext|eot id|start header id|end header id|begin of text|end of text)\|>",
            r"\[/?inst\]|<<\s?/?sys\s?>>|<(?:start|end) of turn>",
            r"</?(?:system ?prompt|system message|assistant|instructions)>|</(?:alert|evidence|untrusted|user input|log)>",
            r"#{2,} ?(?:system|instructions?|assistant|response|human)\b ?:?",
            r#""role" ?: ?"(?:system|assistant|developer)""#,
            r"(?:^|[\s>\]}])(?:system|assistant|developer) ?: ?(?:you|ignore|verdict|this|the alert|mark|classify|note)\b",
        ],
    );
    add(
        Kind::Tool,
        &[
            r"<\|?/?(?:tool|function)(?: ?(?:call|calls|response|result|results|output))\|?>",
            r"\b(?:tool|function) (?:output|result|response)s? ?[:=]",
            r#""type" ?: ?"(?:tool|function)[_ ](?:result|use|call|call output|response)""#,
            r"</?function (?:results|calls)>|\[/?tool (?:output|result|response)s?\]",
            r"\b(?:virustotal|sandbox|edr|siem|soc|tier ?[123]|l[123] analyst|threat intel(?:ligence)?)\b.{0,24}\b(?:verdict|result|says|said|confirmed|closed|verified|reviewed|cleared)\b.{0,30}\b(?:clean|benign|harmless|safe|false positive|no threat)\b",
        ],
    );
    add(
        Kind::Address,
        &[
            r"\b(?:you are(?: now)?|you're|act as|pretend to be|behave (?:as|like)|role ?play as|role of)\b.{0,40}\b(?:ai|assistant|language model|llm|chatbot|gpt|soc analyst|security analyst|dan)\b",
            r"\b(?:as an ai|do anything now|dear (?:ai|assistant|analyst|model|llm|soc)|note (?:to|for) (?:the )?(?:ai|soc|analyst|model|llm|assistant|reviewer))\b",
            r"\b(?:ai|soc|analyst|reviewer|triage|model|assistant) (?:note|notice|instructions?|guidance) ?:",
            r"\battention,? (?:ai|analysts?|model|llm|assistant|soc)\b",
            r"\b(?:chatgpt|gpt ?[345]\w?|claude|copilot|language model|llm|ai model)\b.{0,40}\b(?:must|should|please|ignore|respond|output|answer|say)\b",
            r"\b(?:respond|reply|answer) (?:only )?with\b.{0,24}\b(?:json|yes|no|the words?|verdict|exactly)\b",
            r"\b(?:your (?:new |real |actual |only |next )?(?:task|instructions|system prompt|objective)|(?:new|updated|real) (?:task|instructions|system prompt|objective)s?) ?(?:is|are|:)",
            r"\b(?:tell|give|share|reveal|confirm|send|provide)\b.{0,16}\b(?:your|our|the system) (?:password|secret|api) ?(?:key)?\b",
            r"\bwhat(?:'s| is| would) (?:be )?your (?:password|secret|api key|system prompt)",
            r"\bi(?:'m| am) (?:your|the) (?:developer|maintainer|creator|boss|administrator|supervisor|owner)\b.{0,80}\b(?:need|must|share|confirm|tell|password|instruct|order)\b",
            r"\bi am god\b|\byou are about to immerse yourself\b",
            r"\b(?:reveal|repeat|show|print|leak|tell me|what is|what are)\b.{0,25}\b(?:your|the) (?:system )?(?:prompt|initial instructions|instructions above)\b",
        ],
    );
    add(
        Kind::Pretext,
        &[
            r"\broutine maintenance\b|\bmaintenance (?:event|activity|operation)\b",
            r"\b(?:this|event|activity|traffic|it) is (?:an? |part of an? )?(?:\w+ ){0,2}(?:maintenance|test|testing|evaluation|exercise|drill)\b",
            r"\b(?:authori[sz]ed|approved|controlled|sanctioned) (?:security |penetration |pen ?)?(?:tests?|testing|maintenance|evaluation|exercise|red team)\b",
        ],
    );
    out.push((
        Kind::Steer,
        format!(
            r"\b(?:treat|classify|classified|mark|label|consider|handle|flag|regard|categori[sz]e|rate|report|close|dismiss|conclude)\w*\b.{{0,60}}\b(?:as|is|with|be)\b.{{0,25}}\b{HARMLESS}\b"
        ),
    ));
    out.push((Kind::Steer, format!(r"\b(?:verdict|classification|disposition|your answer)\b.{{0,24}}(?:is|:|=|should be|must be|to|as|\s).{{0,12}}\b{HARMLESS}")));
    out.push((Kind::Steer, r"\b(?:benign|false|needs) (?:true )?(?:positive|investigation)\b.{0,40}\b(?:verdict|close|alert)\b|\bverdict\b.{0,20}\bbenign".into()));
    out.push((
        Kind::Steer,
        r"\b(?:do not|don't|must not|should not|never|no need to)\b.{0,15}\b(?:be )?(?:flag(?:ged)?|escalate|investigate|raise an? alert|trigger alerts?|classify|alert on|report this)\b".into(),
    ));
    for other in [
        r"\bals\b.{0,20}\b(?:harmlos|normal|fehlalarm|unkritisch|unbedenklich|gutartig|falsch positiv)\w*\b.{0,30}\b(?:ein(?:zu)?stuf|behandel|markier|werte|betracht|klassifizier)",
        r"\b(?:stufe|behandle|markiere|werte|betrachte|klassifiziere)\w*\b.{0,60}\bals\b.{0,20}\b(?:harmlos|normal|fehlalarm|unkritisch|unbedenklich|gutartig)",
        r"\b(?:trait|class|consid[eé]r|marqu)\w*\b.{0,60}\bcomme\b.{0,20}\b(?:b[eé]nin|normal|faux positif|inoffensi|l[eé]gitime|sans danger)",
        r"\b(?:trat|clasific|classific|consider|marc)\w*\b.{0,60}\b(?:como|come)\b.{0,20}\b(?:normal|benign|falso positivo|inofensiv|innocu|leg[ií]tim|segur|sicur)",
        r"(?:视为|标记为|归类为|判断为|当作).{0,6}(?:正常|安全|误报|良性|无害)|不要.{0,4}(?:报警|上报|升级)",
        r"(?:正常|誤検知|無害|安全).{0,4}(?:として|と).{0,6}(?:扱|分類|判断|処理|マーク)",
        r"\b(?:считать|считай|пометь|пометить|отметь|классифицируй)\w*\b.{0,60}(?:нормальн|ложн|безопасн|безвредн|доброкачеств)",
        r"\bset (?:the )?(?:priority|severity|verdict|status|risk) ?(?:to|=|:) ?(?:p[1-4]|low|lowest|informational|closed|benign|none|0)\b",
        r"\bapprove (?:the |this |all )?(?:pending )?(?:requests?|proposals?|actions?)\b",
        r"\b(?:please )?(?:close|dismiss|suppress|resolve) (?:this|the|all|any|related|these) (?:\w+ )?(?:alerts?|incidents?|cases?|tickets?|detections?)\b",
        r"\bno (?:further )?(?:action|investigation|escalation) (?:is )?(?:required|needed|necessary)\b.{0,40}\b(?:alert|benign|false positive|close|analyst)\b",
        r"\b(?:can|should|may) (?:safely )?be (?:ignored|dismissed|closed|disregarded)\b.{0,40}\b(?:alert|analyst|soc|benign|detection)\b|\b(?:alert|detection|event)s? (?:can|should|may) (?:safely )?be (?:ignored|dismissed|closed|disregarded|suppressed)\b",
    ] {
        out.push((Kind::Steer, other.to_owned()));
    }
    out.push((
        Kind::Steer,
        r"\b(?:exclud|omit|omitt|suppress|ignor)(?:e|ed|ing)?\b.{0,25}\b(?:alerts?|alerting|detections?)\b".into(),
    ));
    out
}

/// A pattern in the letters that [`fold`] leaves: Cyrillic ones that look Latin are Latin there.
fn as_folded(pattern: &str) -> String {
    pattern.chars().map(|c| if c.is_ascii() { c } else { look_alike(c) }).collect()
}

pub(super) fn rules() -> &'static Rules {
    static RULES: OnceLock<Rules> = OnceLock::new();
    RULES.get_or_init(|| {
        let each: Vec<(Kind, regex::Regex)> = patterns()
            .into_iter()
            .map(|(k, p)| (k, as_folded(&p)))
            .filter_map(|(k, p)| regex::Regex::new(&p).ok().map(|r| (k, r)))
            .collect();
        let set = RegexSet::new(each.iter().map(|(_, r)| r.as_str())).unwrap_or_else(|_| RegexSet::empty());
        Rules { set, each }
    })
}
