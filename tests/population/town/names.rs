//! Names as they are given in China, and what keyboards, code pages and laboratories make of them.
//!
//! The hundred most frequent surnames have 86 % of all people (Ministry of Public Security, 2020), by their shares there,
//! rounded. Given names follow how often their characters are used; some are far more frequent than their characters say.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use pinyin::ToPinyin;

use super::random::Random;

/// Surnames and their bearers among 10,000 people.
const SURNAMES: &str = "王725 李719 张683 刘516 陈461 杨309 黄227 赵206 吴200 周194 徐145 孙142 马128 朱126 胡117 郭114 何105 \
    林104 高102 罗95 郑93 梁85 谢76 宋73 唐70 许66 邓65 冯64 韩63 曹60 曾59 彭58 肖56 蔡53 潘52 田50 董49 袁48 于47 余47 叶46 \
    蒋46 杜46 苏45 魏44 程43 吕43 丁42 沈41 任40 姚39 卢38 傅37 钟36 姜36 崔35 谭35 廖34 范33 汪33 陆33 金32 石30 戴30 贾29 \
    韦28 夏28 邱27 方27 侯26 邹26 熊26 孟25 秦25 白24 江24 阎23 薛23 尹22 段21 雷21 黎20 史19 龙19 陶18 贺18 顾17 毛17 郝17 \
    龚16 邵16 万16 钱15 严15 覃15 武14 莫14 孔14 向13 汤13 \
    常22 温22 康21 施20 文20 牛20 樊19 葛18 邢18 安18 齐17 易17 乔17 伍17 庞16 颜16 倪16 庄16 聂16 章15 鲁15 岳15 翟15 申14 欧14 \
    耿14 关14 兰14 焦13 俞13 左13 柳13 甘12 祝12 包12 宁11 尚11 符11 舒11 阮11 柯10 纪10 梅10 童10 凌10 毕10 单9 季9 裴9 霍8 涂8 \
    成8 苗8 谷8 盛8 曲8 翁7 冉7 骆7 蓝7 路7 游7 辛7 靳7 管6 柴6 蒙6 鲍6 华6 喻6 祁5 蒲5 房5 滕5 屈5 饶5 解5 牟4 艾4 尤4 时4 \
    穆4 农4 司4 卓3 古3 吉3 缪3 简3 车3 项3 连3 芦3 麦3 褚2 娄2 窦2 戚2 岑2 景2 党2 宫2 费2 卜2 冷2 晏2 席2 卫2 米2 柏2 宗2 \
    欧阳11 上官3 司马2 诸葛2 司徒2 尉迟1 皇甫1 仇2 查2 区2 朴2 乜1";

/// Characters of men's given names, the most frequent first.
const MEN: &str = "伟强军明建国勇杰涛志华文超平海刚辉峰俊林磊鹏飞波斌宇浩龙东永健亮成德荣新春生福庆云光兴忠良洋凯鑫旭帆\
    宁祥义学才树根富贵松柏山清玉金家子嘉泽轩睿宸铭昊然博翔豪诚乐天瑞晨皓逸航梓一诺思远正宏大立世仁义民康贤武进跃先\
    顺旺发达全长江河源水火炎焱森彬彪虎威震宝珂奇希景程骏驰恒毅哲钧铎喆堃晟昱煜烨炜玮维纬承启本开耀";
/// Characters of women's given names, the most frequent first.
const WOMEN: &str = "英芳丽秀玉桂娟敏静红燕梅兰霞玲艳娜婷雪琴萍华凤珍云莲莉丹琳颖洁倩香月春美慧淑惠珠翠雅芝菊晶妍茜秋珊\
    莎锦青欣怡梦琪佳馨诗涵雨桐梓萱一语嫣若思彤悦心依晨可瑶瑾萌媛媚蓉蕾薇蓓蔓菲苗婉娴娥姣姗妮爱巧金银素清冬夏晓小文\
    子海丛荷露霜岚虹彩凡真贞善勤俭瑞玥珺璟祎璐琦瑜琼琬瑛婧靖菁晴莹盈滢颜岩艺伊亦译";
/// Given names that are more frequent than their characters say: among all generations.
const OFTEN_MEN: [&str; 24] = [
    "伟", "强", "磊", "军", "勇", "杰", "涛", "超", "明", "刚", "平", "辉", "建国", "建华", "志强", "国强", "建军",
    "浩然", "子轩", "宇轩", "俊杰", "浩", "鹏", "海涛",
];
const OFTEN_WOMEN: [&str; 24] = [
    "芳", "娜", "敏", "静", "丽", "艳", "娟", "霞", "秀英", "桂英", "秀兰", "玉兰", "玉梅", "桂兰", "婷婷", "雪梅",
    "丹丹", "欣怡", "子涵", "梓涵", "雨桐", "一诺", "诗涵", "燕",
];
/// Characters beyond GB 2312, which older systems lose.
const RARE: &str = "喆堃玥珺璟犇祎玙赟翀旻昇焱烨昱煜淏湉婳";
/// Homophones that desks type for each other, beside those among the characters above.
const SOUNDALIKES: &str = "为尉卫薇巍魏旌晶精经京敬境竞径历励利力俪荔锋风丰烽枫鸿弘洪宏红虹艺义议奕弈怡宜仪颐悦月岳越跃\
    渝瑜宇雨羽禹玉钰裕煜涵晗函韩寒含轩萱宣玄炫梓紫籽姿欣新鑫馨昕辛芯佳嘉家加珈芳方纺访珍真臻贞桢祯芬棻洁捷婕杰勇永咏雯\
    文纹闻晨辰宸臣尘皓昊浩灏豪毫婷亭庭停霆娟涓鹃燕艳雁彦晏焱敏闽旻民珉志智致治炽钟中忠衷终胜盛圣晟";
/// Characters that are taken for each other by their shape.
const LOOKALIKES: [&str; 22] = [
    "晴睛", "梅海", "彬杉", "洁浩", "涛淘", "兰三", "玉王", "末未", "英央", "芳芬", "丽而", "林村", "晓饶", "红江",
    "凤风", "杰木", "雪雷", "娜那", "敏繁", "青清", "丹舟", "云去",
];
/// Simplified characters with the traditional or variant forms that some systems keep.
const VARIANTS: &str = "张張陈陳刘劉杨楊黄黃赵趙吴吳孙孫马馬罗羅郑鄭谢謝许許邓鄧冯馮韩韓叶葉苏蘇吕呂卢盧蒋蔣贾賈钟鍾伟偉丽麗\
    华華国國军軍强強杰傑涛濤艳艷红紅兰蘭凤鳳龙龍云雲东東飞飛鹏鵬辉輝宁寧静靜峰峯庆慶荣榮义義学學树樹贵貴松鬆铭銘诚誠乐樂\
    泽澤轩軒颖穎洁潔琼瓊莲蓮萍蘋珍珎兴興志誌双雙";
/// Names of peoples who write given name and father's name with a dot between.
const TRANSCRIBED: [&str; 24] = [
    "阿卜杜拉",
    "买买提",
    "艾力",
    "吐尔逊",
    "古丽娜尔",
    "阿依古丽",
    "热依汗",
    "库尔班",
    "玉素甫",
    "伊布拉音",
    "迪丽努尔",
    "帕提古丽",
    "阿迪力",
    "克里木",
    "萨迪克",
    "努尔兰",
    "叶尔江",
    "巴合提",
    "卓玛",
    "扎西",
    "次仁",
    "德吉",
    "尼玛",
    "丹增",
];
const LATIN_FAMILY: [&str; 24] = [
    "SMITH", "JOHNSON", "BROWN", "MILLER", "DAVIS", "GARCIA", "MARTIN", "LEE", "KIM", "PARK", "TANAKA", "SUZUKI",
    "SATO", "IVANOV", "PETROV", "NGUYEN", "TRAN", "MULLER", "SCHMIDT", "ROSSI", "SILVA", "KHAN", "SINGH", "OBI",
];
const LATIN_MEN: [&str; 12] =
    ["JOHN", "DAVID", "MICHAEL", "JAMES", "ROBERT", "MINHO", "KENJI", "IVAN", "DUC", "HANS", "MARCO", "ALI"];
const LATIN_WOMEN: [&str; 12] =
    ["MARY", "ANNA", "LINDA", "SARAH", "EMMA", "JIWOO", "YUKI", "OLGA", "LAN", "PETRA", "LUCIA", "AISHA"];

/// A name as its bearer writes it. Names of Chinese and of Latin letters have two parts; others are whole in `given`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Name {
    pub(crate) surname: String,
    pub(crate) given: String,
}

impl Name {
    pub(crate) fn new(surname: &str, given: &str) -> Self {
        Self { surname: surname.to_owned(), given: given.to_owned() }
    }

    /// Chinese order.
    pub(crate) fn whole(&self) -> String {
        format!("{}{}", self.surname, self.given)
    }
}

struct Surnames {
    names: Vec<&'static str>,
    weights: Vec<u32>,
}

static ALL_SURNAMES: LazyLock<Surnames> = LazyLock::new(|| {
    let (mut names, mut weights) = (Vec::new(), Vec::new());
    for word in SURNAMES.split_whitespace() {
        let (name, weight) = word.split_at(word.find(|letter: char| letter.is_ascii_digit()).expect("a weight"));
        names.push(name);
        weights.push(weight.parse().expect("a weight"));
    }
    Surnames { names, weights }
});

/// Characters with weights that fall as Zipf's law does, flattened at its head.
fn zipf(characters: &str) -> (Vec<char>, Vec<u32>) {
    let characters: Vec<char> = characters.chars().filter(|letter| !letter.is_whitespace()).collect();
    let weights = (0..characters.len()).map(|rank| 100_000 / (rank as u32 + 4)).collect();
    (characters, weights)
}

static MENS: LazyLock<(Vec<char>, Vec<u32>)> = LazyLock::new(|| zipf(MEN));
static WOMENS: LazyLock<(Vec<char>, Vec<u32>)> = LazyLock::new(|| zipf(WOMEN));

/// The characters that are read alike, by their reading.
static BY_READING: LazyLock<HashMap<&'static str, Vec<char>>> = LazyLock::new(|| {
    let mut by_reading: HashMap<&str, Vec<char>> = HashMap::new();
    for letter in [MEN, WOMEN, RARE, SOUNDALIKES].concat().chars() {
        if let Some(pinyin) = letter.to_pinyin() {
            let alike = by_reading.entry(pinyin.plain()).or_default();
            if !alike.contains(&letter) {
                alike.push(letter);
            }
        }
    }
    by_reading
});

/// How often each name came among 50,000 people of one sample: the same for every population, whatever its size.
static SAMPLE: LazyLock<HashMap<String, u32>> = LazyLock::new(|| {
    let mut random = Random::new(20_000);
    let mut counts = HashMap::new();
    for bearer in 0..50_000 {
        let name = chinese(&mut random, bearer % 2 == 0, 1940 + (bearer % 84));
        *counts.entry(name.whole()).or_default() += 1;
    }
    counts
});

/// Whether hardly anybody else in a city has this name.
pub(crate) fn is_rare(name: &Name) -> bool {
    SAMPLE.get(&name.whole()).is_none_or(|bearers| *bearers <= 1)
}

pub(crate) fn surname(random: &mut Random) -> &'static str {
    ALL_SURNAMES.names[random.weighted(&ALL_SURNAMES.weights)]
}

pub(crate) fn chinese(random: &mut Random, is_male: bool, year: i32) -> Name {
    let surname = surname(random);
    Name::new(surname, &given(random, is_male, year))
}

/// One or two characters; one is most frequent among those born from the sixties to the eighties.
pub(crate) fn given(random: &mut Random, is_male: bool, year: i32) -> String {
    if random.chance(0.22) {
        return (*random.pick(if is_male { &OFTEN_MEN } else { &OFTEN_WOMEN })).to_owned();
    }
    let is_single = random.chance(if (1962..1992).contains(&year) { 0.30 } else { 0.10 });
    let first = character(random, is_male);
    match is_single {
        true => first.to_string(),
        false => [first, character(random, is_male)].iter().collect(),
    }
}

pub(crate) fn character(random: &mut Random, is_male: bool) -> char {
    if random.chance(0.01) {
        let rare: Vec<char> = RARE.chars().collect();
        return *random.pick(&rare);
    }
    let (characters, weights) = if is_male { &*MENS } else { &*WOMENS };
    characters[random.weighted(weights)]
}

pub(crate) fn transcribed(random: &mut Random) -> Name {
    Name::new("", &format!("{}·{}", random.pick(&TRANSCRIBED), random.pick(&TRANSCRIBED)))
}

pub(crate) fn latin(random: &mut Random, is_male: bool) -> Name {
    let givens = if is_male { LATIN_MEN } else { LATIN_WOMEN };
    let (surname, given) = (*random.pick(&LATIN_FAMILY), *random.pick(&givens));
    Name::new(surname, given)
}

/// Another character with the same reading.
pub(crate) fn sounds_like(random: &mut Random, letter: char) -> Option<char> {
    let alike = BY_READING.get(letter.to_pinyin()?.plain())?;
    let others: Vec<char> = alike.iter().copied().filter(|other| *other != letter).collect();
    (!others.is_empty()).then(|| *random.pick(&others))
}

/// Another character that looks alike or was meant for another name; it never sounds alike.
pub(crate) fn mistaken(random: &mut Random, letter: char, is_male: bool) -> char {
    let alike = LOOKALIKES.iter().find(|alike| alike.contains(letter) && random.chance(0.7));
    if let Some(other) = alike.and_then(|alike| alike.chars().find(|other| *other != letter)) {
        return other;
    }
    loop {
        let other = character(random, is_male);
        if other.to_pinyin().map(|pinyin| pinyin.plain()) != letter.to_pinyin().map(|pinyin| pinyin.plain()) {
            return other;
        }
    }
}

pub(crate) fn variant(letter: char) -> Option<char> {
    let letters: Vec<char> = VARIANTS.chars().filter(|letter| !letter.is_whitespace()).collect();
    letters.chunks(2).find(|pair| pair[0] == letter).map(|pair| pair[1])
}

pub(crate) fn is_lost_in_gb2312(letter: char) -> bool {
    RARE.contains(letter)
}

/// Toneless pinyin in capitals, character by character, as a laboratory's keyboard makes it: surnames by their first reading.
pub(crate) fn romanised(text: &str) -> String {
    let reading = |letter: char| letter.to_pinyin().map_or(letter.to_string(), |pinyin| pinyin.plain().to_uppercase());
    text.chars().filter(|letter| *letter != '·').map(reading).collect::<String>().replace('Ü', "V")
}

/// Names that are alike in pinyin have the same key.
pub(crate) fn sound(name: &Name) -> String {
    romanised(&name.whole())
}

/// The share of people who have one of the hundred most frequent surnames.
pub(crate) fn share_of_frequent_surnames(surnames: impl Iterator<Item = String>) -> f64 {
    let frequent = &ALL_SURNAMES.names[..100];
    let mut counts = BTreeMap::from([(true, 0), (false, 0)]);
    for surname in surnames.filter(|surname| !surname.is_empty()) {
        *counts.entry(frequent.contains(&surname.as_str())).or_default() += 1;
    }
    f64::from(counts[&true]) / f64::from(counts[&true] + counts[&false])
}
