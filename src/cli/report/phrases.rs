//! Texts of the report in English and Vietnamese.

/// Language of a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub(super) enum Language {
    /// English.
    #[default]
    En,
    /// Vietnamese.
    Vi,
}

impl Language {
    /// The code in HTML.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Vi => "vi",
        }
    }
}

macro_rules! phrases {
    ($($phrase:ident: $en:literal, $vi:literal;)+) => {
        /// A text of the report.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(super) enum Phrase {
            $($phrase,)+
        }

        const TEXTS: &[[&str; 2]] = &[$([$en, $vi],)+];
    };
}

phrases! {
    Title: "IPv6 readiness report", "Báo cáo mức độ sẵn sàng IPv6";
    Zone: "Zone", "Vùng";
    Period: "Period (UTC)", "Khoảng thời gian (UTC)";
    Ready: "Ready to drop NAT64: no session was translated in this period.",
        "Sẵn sàng ngừng NAT64: không có phiên nào được dịch địa chỉ trong khoảng thời gian này.";
    Nearly: "Nearly ready to drop NAT64", "Gần sẵn sàng ngừng NAT64";
    NotYet: "Not yet ready to drop NAT64", "Chưa sẵn sàng ngừng NAT64";
    NoData: "No data: the ledger has no entries of this zone in this period.",
        "Không có dữ liệu: sổ ghi không có mục nào của vùng này trong khoảng thời gian này.";
    OfQueries: "of AAAA queries are for names with native IPv6", "truy vấn AAAA dành cho tên có IPv6 thuần";
    NamesNeed: "names without working AAAA records", "tên không có bản ghi AAAA dùng được";
    LiteralsNeed: "literal destinations", "đích chỉ có địa chỉ IPv4 (literal)";
    Moved: "translated", "lưu lượng được dịch địa chỉ";
    Largest: "the largest is", "lớn nhất là";
    Programme: "Programme", "Chương trình";
    Due: "due", "hạn";
    Target: "Target", "Mục tiêu";
    Reached: "Reached", "Đã đạt";
    NotMeasured: "This phase has no target that the ledger measures.",
        "Giai đoạn này không có mục tiêu nào mà sổ ghi đo được.";
    Ratios: "Ratios", "Tỷ lệ";
    RatioNames: "Names with native IPv6", "Tên có IPv6 thuần";
    RatioNamesMeans: "queried names with AAAA records, of all queried names with addresses",
        "số tên được truy vấn có bản ghi AAAA, trên tổng số tên được truy vấn có địa chỉ";
    RatioQueries: "Queries for names with native IPv6", "Truy vấn tên có IPv6 thuần";
    RatioQueriesMeans: "AAAA queries for such names, of all AAAA queries for names with addresses",
        "truy vấn AAAA cho các tên đó, trên tổng số truy vấn AAAA cho tên có địa chỉ";
    RatioHosts: "Hosts that need DNS64 only", "Máy chỉ cần DNS64";
    RatioHostsMeans: "hosts of this class, of all hosts with translated sessions",
        "số máy thuộc lớp này, trên tổng số máy có phiên được dịch địa chỉ";
    RatioLiterals: "Sessions to literals", "Phiên tới literal";
    RatioLiteralsMeans: "translated sessions to addresses that DNS64 gave no name, of all translated sessions",
        "số phiên tới địa chỉ không có tên từ DNS64, trên tổng số phiên được dịch địa chỉ";
    Trend: "Trend", "Xu hướng";
    TrendQueries: "Queries for names with native IPv6, percent by day", "Truy vấn tên có IPv6 thuần, phần trăm theo ngày";
    TrendBytes: "Translated traffic by day", "Lưu lượng được dịch địa chỉ theo ngày";
    Names: "Names that need IPv4", "Các tên cần IPv4";
    NamesMeans: "Ask their operators for AAAA records. Names by translated bytes.",
        "Hãy yêu cầu đơn vị vận hành bổ sung bản ghi AAAA. Sắp xếp theo số byte được dịch địa chỉ.";
    Own: "Own domains without working AAAA records", "Tên miền của đơn vị chưa có bản ghi AAAA dùng được";
    Name: "Name", "Tên";
    Support: "IPv6 support", "Hỗ trợ IPv6";
    Queries: "Queries", "Truy vấn";
    Hosts: "Hosts", "Máy";
    Sessions: "Sessions", "Phiên";
    Bytes: "Bytes", "Byte";
    Native: "native", "IPv6 thuần";
    Ipv4Only: "IPv4 only", "chỉ IPv4";
    Broken: "AAAA queries fail", "truy vấn AAAA bị lỗi";
    Unknown: "queried for A only", "chỉ truy vấn A";
    Literals: "Literals", "Literal (địa chỉ IPv4 viết trực tiếp)";
    Destination: "Destination", "Đích";
    Likely: "Likely program", "Chương trình có thể";
    HostClasses: "Hosts by class", "Máy theo lớp";
    Dns64Only: "DNS64 only", "Chỉ dùng DNS64";
    Dns64OnlyMeans: "use addresses from DNS64", "dùng địa chỉ do DNS64 tạo";
    Clat: "CLAT or own synthesis", "CLAT hoặc tự tạo địa chỉ";
    ClatMeans: "had at least 5 sessions to addresses that DNS64 synthesized for no host of the zone",
        "có ít nhất 5 phiên tới địa chỉ mà DNS64 không tạo cho máy nào trong vùng";
    Bypass: "Bypasses DNS64", "Bỏ qua DNS64";
    BypassMeans: "used port 853 of a server, or port 53 or 443 of a large public resolver, over NAT64",
        "dùng cổng (port) 853 của một máy chủ, hoặc cổng 53 hay 443 của máy chủ phân giải công cộng lớn, qua NAT64";
    NoHosts: "No host identities are recorded (hosts = \"off\").", "Không ghi nhận máy nào (hosts = \"off\").";
    Drops: "What failed", "Những gì bị lỗi";
    Packets: "Packets", "Gói tin";
    Reason: "Reason", "Lý do";
    Load: "Load and head-room", "Tải và dự phòng";
    PeakSessions: "Largest number of live sessions", "Số phiên đồng thời lớn nhất";
    PeakPorts: "Largest number of assigned ports", "Số cổng (port) đã cấp lớn nhất";
    Of: "of", "trên";
    None: "None.", "Không có.";
}

impl Phrase {
    /// The text in a language.
    pub(super) fn text(self, language: Language) -> &'static str {
        TEXTS[self as usize][language as usize]
    }
}
