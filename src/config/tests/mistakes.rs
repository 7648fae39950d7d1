//! What is told about each kind of mistake, and where.

use super::{changed, problems};

/// What is replaced in the small configuration, by what, and what is told then: line, column and message.
type Mistake = (&'static str, &'static str, &'static [&'static str]);

fn assert_told(mistakes: &[Mistake]) {
    for (from, to, expected) in mistakes {
        assert_eq!(problems(&changed(from, to)), *expected, "{from:?} replaced by {to:?}");
    }
}

#[test]
fn sections_and_keys() {
    assert_told(&[
        ("[sources.crm]", "[leger]\n[sources.crm]", &["9:2 unknown key `leger`"]),
        ("[sources.crm]", "ledger = 5\n[sources.crm]", &["9:1 unknown key `ledger` in `targets.main`"]),
        ("[targets.main]", "ledger = 5\n[targets.main]", &["2:10 expected a table, found an integer"]),
        (
            "[targets.main]",
            "[[jobs]]\n[targets.main]",
            &["file no job is defined", "2:1 expected a table, found a list"],
        ),
        (
            "[sources.crm]",
            "[jobs.customers.retry]\ninitial = '2m'\n[sources.crm]",
            &["9:1 `max` (1m) is shorter than `initial` (2m)"],
        ),
        (
            "[sources.crm]",
            "[log]\nformat = 'jsn'\nlevel = 'warning'\n[monitor]\nlisten = 'localhost:80'\n[alerts]\ncommand = 'notify'\n[ledger]\nredact = [1]\nkeep_history = '0d'\n[sources.crm]",
            &[
                "10:10 `jsn` is not possible here",
                "11:9 `warning` is not possible here",
                "13:10 `localhost:80` is not an address to listen on",
                "15:11 expected a list, found a string",
                "17:11 expected a string, found an integer",
                "18:16 this must be longer than zero",
            ],
        ),
        (
            "[sources.crm]",
            "[monitor]\nlisten = '0.0.0.0:80'\n[alerts]\ncommand = []\n[sources.crm]",
            &["10:10 everyone who can reach this address can read status and metrics", "12:11 this names no program"],
        ),
        (
            "[sources.crm]",
            "[maps]\na = { b = 5 }\nc = 5\n[maps.d]\n'x' = ''\n[sources.crm]",
            &["10:11 expected a string, found an integer", "11:5 expected a table, found an integer"],
        ),
    ]);
}

#[test]
fn targets_and_sources() {
    assert_told(&[
        (
            "type = 'sqlite'",
            "type = 'rest'\nauth = { p = 'x' }",
            &["10:8 sources of type rest are not supported by this version"],
        ),
        ("type = 'sqlite'", "type = 'sqllite'", &["10:8 `sqllite` is not possible here"]),
        ("type = 'sqlite'", "type = 'postgres'", &["9:1 `url` is missing", "11:1 unknown key `path` in `sources.crm`"]),
        ("type = 'sqlite'\n", "", &["9:1 `type` is missing"]),
        ("client_secret = { env = 'SECRET' }", "", &["2:1 `client_secret` or `certificate` is missing"]),
        (
            "client_secret = { env = 'SECRET' }",
            "client_secret = { env = 'SECRET', file = '/x' }\ncertificate = {}",
            &[
                "7:1 `client_secret` and `certificate` exclude each other",
                "7:17 a secret has exactly one place",
                "8:15 `file` is missing",
                "8:15 `key` is missing",
            ],
        ),
        (
            "tenant = 'contoso.onmicrosoft.com'",
            "tenant = 'a/b'\nsecret_expires = '2027-02-01'\nsettle_window = '19m'",
            &[
                "3:10 `a/b` is not a tenant",
                "4:18 expected a date, found a string",
                "5:17 a request whose answer was lost may take effect later than this, and be sent twice",
            ],
        ),
        (
            "tenant = 'contoso.onmicrosoft.com'",
            "tenant = 't'\nsecret_expires = 2027-02-01T00:00:00\nbase_url = 'http://127.0.0.1:8080'\nsettle_window = '1s'",
            &["4:18 expected a date without a time"],
        ),
        (
            "tenant = 'contoso.onmicrosoft.com'",
            "tenant = 't'\nlogin_url = 'http://login.example'\nbase_url = 'x'\nscope = ''\nproxy = 'ftp://x'\nextra_ca = '/nope/ca.pem'",
            &[
                "4:13 plain http would send secrets and data in the clear",
                "5:12 this is not the address of a service",
                "6:9 this must not be blank",
                "7:9 this is not the address of a proxy",
                "8:12 the file /nope/ca.pem cannot be read: No such file or directory (os error 2)",
            ],
        ),
        (
            "tenant = 'contoso.onmicrosoft.com'",
            "tenant = 't'\npause = { from = '24:00', to = '1', zone = 'UTC' }",
            &[
                "4:18 `24:00` is not a time of day",
                "4:32 `1` is not a time of day",
                "4:37 unknown key `zone` in `targets.main.pause`",
            ],
        ),
        (
            "tenant = 'contoso.onmicrosoft.com'",
            "tenant = 't'\npause = { from = '22:00', to = '22:00' }",
            &["4:9 `from` and `to` are the same time"],
        ),
        (
            "tenant = 'contoso.onmicrosoft.com'",
            "tenant = 't'\nlimits = { concurrency = 0, requests_per_5_minutes = 5.5, batch_size = 101, batch_cost = 0, batchsize = 1 }",
            &[
                "4:26 0 is out of range",
                "4:54 expected a whole number, found a float",
                "4:72 101 is out of range",
                "4:90 0 is out of range",
                "4:93 unknown key `batchsize` in `targets.main.limits`",
            ],
        ),
        (
            "[sources.crm]",
            "[targets.'a b']\n[targets.second]\n[sources.crm]",
            &[
                "9:1 `tenant` is missing",
                "9:1 `environment` is missing",
                "9:1 `company` is missing",
                "9:1 `client_id` is missing",
                "9:1 `client_secret` or `certificate` is missing",
                "9:10 `a b` cannot be a name",
                "10:1 `tenant` is missing",
                "10:1 `environment` is missing",
                "10:1 `company` is missing",
                "10:1 `client_id` is missing",
                "10:1 `client_secret` or `certificate` is missing",
                "15:1 `target` is missing, and there are several",
            ],
        ),
    ]);
}

#[test]
fn references_and_policies() {
    assert_told(&[
        ("key = 'id'", "kye = 'id'", &["13:1 `key` is missing", "17:1 unknown key `kye` in `jobs.customers`"]),
        ("key = 'id'", "key = 5", &["17:7 expected a string, found an integer"]),
        ("key = 'id'", "key = ' '", &["17:7 this must not be blank"]),
        ("source = 'crm'", "source = 'cmr'", &["14:10 there is no source `cmr`"]),
        ("source = 'crm'", "source = 'crm'\ntarget = 'mian'", &["15:10 there is no target `mian`"]),
        (
            "source = 'crm'",
            "source = 'crm'\nafter = ['customer', 'customers']",
            &[
                "15:10 there is no job `customer`",
                "15:22 no job of this circle could ever run: customers after customers",
            ],
        ),
        ("source = 'crm'", "source = 'crm'\nafter = 'x'", &["15:9 expected a list, found a string"]),
        ("source = 'crm'\n", "", &["13:1 `source` is missing"]),
        ("entity = 'customers'\n", "", &["13:1 `entity` is missing"]),
        ("query = 'SELECT 1'\nkey = 'id'\n", "", &["13:1 `query` is missing", "13:1 `key` is missing"]),
        (
            "on_conflict = 'hold'\n",
            "",
            &["13:1 `on_conflict` is missing: who wins when someone changed our properties in Business Central?"],
        ),
        ("on_conflict = 'hold'", "on_conflict = 'source-wins'", &["19:15 `source-wins` is not possible here"]),
        ("on_conflict = 'hold'", "on_conflict = true", &["19:15 expected a string, found a boolean"]),
        (
            "entity = 'customers'",
            "entity = 'salesOrders'\non_delete = 'block'",
            &["16:13 rows of salesOrders cannot be blocked, only those of customers, items"],
        ),
        (
            "on_conflict = 'hold'",
            "mode = 'create_only'\non_delete = 'block'",
            &["20:13 a job whose `mode` is \"create_only\" cannot block rows: that changes them"],
        ),
        (
            "entity = 'customers'",
            "entity = 'contoso/accounts'",
            &["15:10 `contoso/accounts` is not the name of an entity set"],
        ),
        (
            "entity = 'customers'",
            "entity = 'contoso/crm/1/accounts'",
            &["15:10 `contoso/crm/1/accounts` is not the name of an entity set"],
        ),
        ("entity = 'customers'", "entity = '2customers'", &["15:10 `2customers` is not the name of an entity set"]),
    ]);
}

#[test]
fn streams_and_schedules() {
    assert_told(&[
        ("key = 'id'", "key = 'id'\nlag = 10", &["18:7 a length of time needs its unit"]),
        (
            "key = 'id'",
            "key = 'id'\ncursor = 'c'\nlag = 10\noverlap = '5min'",
            &["19:7 a length of time needs its unit", "20:11 `5min` is not a length of time"],
        ),
        (
            "key = 'id'",
            "key = 'id'\ncursor = 'c'\nlag = '10s'\noverlap = 5\ncursor_timezone = 'Europe/Berln'",
            &[
                "19:7 this is for a cursor of time stamps, but the number in `overlap` is for one that counts",
                "21:19 `Europe/Berln` is not a time zone",
            ],
        ),
        (
            "key = 'id'",
            "key = 'id'\ncursor = 'c'\nlag = '10s'\noverlap = 5\ncursor_timezone = 'Europe/Berlin'",
            &[
                "19:7 this is for a cursor of time stamps, but the number in `overlap` is for one that counts",
                "21:19 this is for a cursor of time stamps, but the number in `overlap` is for one that counts",
            ],
        ),
        (
            "key = 'id'",
            "key = 'id'\nlag = '10s'\noverlap = 5\ncursor_timezone = 'Europe/Berlin'",
            &[
                "18:7 this has no meaning without `cursor`",
                "19:11 this has no meaning without `cursor`",
                "20:19 this has no meaning without `cursor`",
            ],
        ),
        (
            "key = 'id'",
            "key = 'id'\nschedule = '0 0 30 2 *'\nfull_schedule = '* * *'",
            &[
                "18:12 `0 0 30 2 *` never runs: no month has such a day",
                "19:17 `* * *` is not a schedule: it has 3 fields",
            ],
        ),
        (
            "key = 'id'",
            "key = 'id'\nschedule = '1/10 * * * *'\nfull_schedule = '0 25 * * *'",
            &[
                r#"18:12 `1/10 * * * *` is not a schedule: the minute `1/10`: Invalid step syntax: single number steps like "1/10" are not allowed. Use "*/10" for wildcard steps or "X-Y/10" for range steps"#,
                "19:17 `0 25 * * *` is not a schedule: the hour `25`: Number out of bounds",
            ],
        ),
        (
            "key = 'id'",
            "key = 'id'\nschedule = '@reboot'\nfull_schedule = '0 0 0 1 1 * 2027'",
            &[
                "18:12 `@reboot` is not a schedule: there is no such nickname",
                "19:17 `0 0 0 1 1 * 2027` is not a schedule: it has 7 fields",
            ],
        ),
        (
            "key = 'id'",
            "key = 'id'\nfull_schedule = '@daily'",
            &["18:17 every run of this job reads everything: it has no `cursor`"],
        ),
        (
            "key = 'id'",
            "key = 'id'\ncursor = 'c'\non_delete = 'delete'",
            &["18:10 the cursor of `customers` does not see records that were deleted"],
        ),
    ]);
}

#[test]
fn fields_lines_and_limits() {
    assert_told(&[
        (
            "match_on = 'number'\n",
            "",
            &["13:1 `match_on` is missing: a job that creates rows must be able to find them again"],
        ),
        (
            "match_on = 'number'\n",
            "mode = 'update_only'\n",
            &["13:1 without `match_on` this job finds no row that it did not create itself"],
        ),
        (
            "match_on = 'number'",
            "match_on = ['nmber', 'name']",
            &[
                "18:13 `nmber` is not among the `fields` of this job",
                "18:22 `name` is not among the `fields` of this job",
            ],
        ),
        ("match_on = 'number'", "match_on = []", &["18:12 `match_on` names no property"]),
        ("number = 'no'", "", &["21:1 no property is mapped here"]),
        ("[jobs.customers.fields]\nnumber = 'no'", "", &["13:1 `[jobs.customers.fields]` is missing"]),
        (
            "number = 'no'",
            "number = 5\n'a b' = 'x'",
            &["22:10 expected an expression in a string, found an integer", "23:1 `a b` is not the name of a property"],
        ),
        (
            "number = 'no'",
            "number = 'no'\n[jobs.customers.create_only]\nnumber = 'no'",
            &["24:1 `number` is in `fields` too"],
        ),
        (
            "on_conflict = 'hold'",
            "on_conflict = 'hold'\nmode = 'update_only'\ncreate_only = { a = 'x' }",
            &["21:17 `create_only` has no meaning in a job that creates nothing (`mode`)"],
        ),
        (
            "number = 'no'",
            "number = 'no'\n[jobs.customers.lines]",
            &[
                "23:1 `entity` is missing",
                "23:1 `query` or `path` is missing",
                "23:1 `key` is missing",
                "23:1 `fields` is missing",
            ],
        ),
        (
            "number = 'no'",
            "number = 'no'\n[jobs.customers.lines]\nentity = 'lines'\nkey = 'k'\nquery = 'q'\npath = 'lines'\nfields = {}",
            &[
                "23:1 `parent` is missing",
                "27:1 `query` and `path` exclude each other",
                "27:8 `lines` is not a JSON pointer",
                "28:10 no property is mapped here",
            ],
        ),
        (
            "number = 'no'",
            "number = 'no'\n[jobs.customers.lines]\nentity = 'lines'\nkey = 'k'\npath = '/lines'\nparent = 'p'\nfields = { a = 'b' }",
            &["27:10 `parent` has no meaning without `query`"],
        ),
        (
            "number = 'no'",
            "number = 'no'\n[jobs.customers.brake]\ncreates = 5\nupdates = { max = -1 }\ndeletes = {}\ncloses = { percent = 101, mx = 3 }",
            &[
                "24:11 expected a table, found an integer",
                "25:19 -1 is out of range",
                "26:11 a limit needs `max` or `percent`",
                "27:22 101 percent is more than all",
                "27:27 unknown key `mx` in `jobs.customers.brake.closes`",
            ],
        ),
        (
            "number = 'no'",
            "number = 'no'\n[jobs.customers.check_total]\nproperty = 'a b'\ntolerance = -0.5",
            &[
                "23:1 `equals` is missing",
                "24:12 `a b` is not a name in Business Central's API",
                "25:13 this is not a number of zero or more",
            ],
        ),
        (
            "number = 'no'",
            "number = 'no'\n[jobs.customers.retry]\nattempts = 0\ninitial = '2m'\nmax = '1m'",
            &["24:12 0 is out of range", "26:7 `max` (1m) is shorter than `initial` (2m)"],
        ),
    ]);
}

#[test]
fn text_that_is_not_toml() {
    assert_told(&[
        ("[sources.crm]", "[maps.a]\nx = 'y'\n[maps.a]\n[sources.crm]", &["11:7 this is not TOML: duplicate key"]),
        ("key = 'id'", r#"key = "id"#, &[r#"17:10 this is not TOML: invalid basic string, expected `"`"#]),
        (
            "key = 'id'",
            "key = = 5\nb = 'x",
            &[
                "17:7 this is not TOML: extra `=`, expected nothing",
                "17:9 this is not TOML: unexpected key or value, expected newline, `#`",
                "18:7 this is not TOML: invalid literal string, expected `'`",
            ],
        ),
    ]);
}
