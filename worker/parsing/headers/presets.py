r"""Headers that well-known software writes, by name, in the language of `worker.parsing.headers.language`.

Logs without a header in every line (apt's history and terminal logs, JSON, plain output) have no preset: they need
none.
"""

from collections.abc import Mapping
from types import MappingProxyType

from worker.errors import WrongFormat
from worker.parsing.headers.language import parse_format
from worker.parsing.headers.program import HeaderFormat

_SYSLOG_TAG = r"<host:word> <program:word>(\[<pid>\])?( \(<service.name>\))?: <message>"
#: Name -> declaration. Where two fit a log alike, detection takes the earlier.
DECLARATIONS: Mapping[str, str] = MappingProxyType({
    # ISO 8601 and RFC 3339 times
    "iso": "<timestamp:%+> <message>",
    "iso-bracketed": r"\[<timestamp:%+>\] <message>",
    "iso-level": "<timestamp:%+> <level>(:)? <message>",
    "iso-bracketed-level": r"<timestamp:%+> \[<level>\s*\](:)? <message>",
    "iso-both-bracketed": r"\[<timestamp:%+>\] \[<level>\s*\](:)? <message>",
    "iso-zone": "<timestamp:%Y-%m-%d %H:%M:%S%.f %z> <message>",
    "level": "<level>: <message>",
    # Java
    "log4j": "<timestamp:%+> <level> <logger:name>: <message>",
    "log4j-hadoop": r"<timestamp:%+> <level> \[<thread>\] <logger:word>: <message>",
    "log4j-dash": "<timestamp:%+> <level> <logger:name> - <message>",
    "log4j-ttcc": r"<log4j.elapsed:int> \[<thread>\] <level> <logger:name> - <message>",
    "logback": r"<timestamp:%+> \[<thread>\] <level> <logger:name> - <message>",
    "logback-clock": r"<timestamp:%T%.f> \[<thread>\] <level> <logger:name> - <message>",
    "logback-level-first": r"<timestamp:%+> <level> \[<thread>\] <logger:name> - <message>",
    "spring-boot": r"<timestamp:%+> <level> <pid:int> --- \[\s*<thread>\] <logger:word> : <message>",
    "spring-boot-app": (
        r"<timestamp:%+> <level> <pid:int> --- \[<service.name>\] \[\s*<thread>\] <logger:word> : <message>"
    ),
    "jboss": r"<timestamp:%+> <level> \[<logger:name>\] \(<thread>\) <message>",
    "jul": r"<timestamp:%b %e, %Y %I:%M:%S %p> <logger:word>( <function:word>)?\n<level>: <message>",
    "jul-one-line": "<timestamp:%b %e, %Y %I:%M:%S %p> <logger:name>( <function:name>)? <level>: <message>",
    "tomcat": r"<timestamp:%d-%b-%Y %H:%M:%S%.f> <level> \[<thread>\] <logger:name> <message>",
    "hdfs": "<timestamp:%y%m%d %H%M%S> <pid:int> <level> <logger:name>: <message>",
    "spark": "<timestamp:%y/%m/%d %H:%M:%S> <level> <logger:name>: <message>",
    "flink": r"<timestamp:%+> <level> <logger:name> \[<_>\] - <message>",
    "kafka": r"\[<timestamp:%+>\] <level> <message>",
    "zookeeper": r"<timestamp:%+>( \[myid:<zookeeper.id>\])? - <level> \[<thread>\] - <message>",
    "cassandra": r"<level> \[<thread>\] <timestamp:%+> <file:word>:<line:int> - <message>",
    "elasticsearch": r"\[<timestamp:%+>\]\[<level>\s*\]\[<logger:word>\s*\] \[<host>\] <message>",
    # Python
    "python": "<level>:<logger:word>:<message>",
    "python-dash": "<timestamp:%+> - <logger:word> - <level> - <message>",
    "python-dash-level": "<timestamp:%+> - <level> - <message>",
    "python-flask": r"\[<timestamp:%+>\] <level> in <logger:word>: <message>",
    "gunicorn": r"\[<timestamp:%Y-%m-%d %H:%M:%S %z>\] \[<pid:int>\] \[<level>\] <message>",
    "celery": r"\[<timestamp:%+>: <level>/<thread>\] <message>",
    "loguru": "<timestamp:%+> | <level> | <logger:word> - <message>",
    "airflow": r"\[<timestamp:%+>\] {<file:word>:<line:int>} <level> - <message>",
    "openstack": r"<timestamp:%+> <pid:int> <level> <logger:name> \[<http.request.id>\] <message>",
    "supervisor": "<timestamp:%Y-%m-%d %H:%M:%S,%f> <level> <message>",
    # Systems
    "syslog": f"<timestamp:%b %e %H:%M:%S%.f> {_SYSLOG_TAG}",
    "syslog-plain": "<timestamp:%b %e %H:%M:%S%.f> <host:word> <message>",
    "syslog-iso": f"<timestamp:%+> {_SYSLOG_TAG}",
    "journald-unix": f"<timestamp:%s.%f> {_SYSLOG_TAG}",
    "journald-full": f"<timestamp:%a %Y-%m-%d %H:%M:%S%.f %Z> {_SYSLOG_TAG}",
    "syslog-spaced": (
        r"<timestamp:%b %e %H:%M:%S%.f> <host:word> <program>(\[<pid>\])?( \(<service.name>\))?: <message>"
    ),
    "dmesg": r"\[\s*<system.uptime:number>\] <message>",
    "ctime": r"\[<timestamp:%a %b %e %H:%M:%S %Y>\] <message>",
    "audit": r"type=<audit.type:name> msg=audit\(<timestamp:%s.%f>:<audit.id:int>\): <message>",
    "dpkg": "<timestamp:%Y-%m-%d %H:%M:%S> <message>",
    "epoch": "<timestamp:%s%.f> <message>",
    "android": "<timestamp:%m-%d %H:%M:%S%.f> <pid:int> <tid:int> <level:letter> <logger>: <message>",
    "windows-cbs": "<timestamp:%Y-%m-%d %H:%M:%S>, <level:word> <component:word> <message>",
    # Servers
    "nginx-access": r"<client:word> <_:word> <user> \[<timestamp:%d/%b/%Y:%H:%M:%S %z>\] <message>",
    "apache-vhost": r"<host:word> <client:word> <_:word> <user> \[<timestamp:%d/%b/%Y:%H:%M:%S %z>\] <message>",
    "nginx-error": (
        r"<timestamp:%Y/%m/%d %H:%M:%S> \[<level>\] <pid:int>#<tid:int>: (*<nginx.connection:int> )?<message>"
    ),
    "apache-error": (
        r"\[<timestamp:%a %b %e %H:%M:%S%.f %Y>\] \[<apache.module>:<level>\] \[pid <pid:int>(:tid <tid:int>)?\]"
        r"( \[client <client:word>\])? <message>"
    ),
    "apache-error-old": r"\[<timestamp:%a %b %e %H:%M:%S %Y>\] \[<level>\]( \[client <client:word>\])? <message>",
    "redis": r"<pid:int>:<redis.role:name> <timestamp:%d %b %Y %H:%M:%S%.f> <level:mark> <message>",
    "redis-old": r"\[<pid:int>\] <timestamp:%d %b %H:%M:%S%.f> <level:mark> <message>",
    "postgresql": (
        r"<timestamp:%Y-%m-%d %H:%M:%S%.f %Z> \[<pid:word>\]( <user:word>@<database:word>)? <level>: <message>"
    ),
    "mysql": r"<timestamp:%+> <tid:int> \[<level>\]( \[<error.code>\] \[<component>\])? <message>",
    "mysql-old": r"<timestamp:%y%m%d %H:%M:%S> \[<level>\] <message>",
    "mongodb-legacy": r"<timestamp:%+> <level:letter> <component:word> \[<thread>\] <message>",
    "rabbitmq": r"<timestamp:%+> \[<level>\] \<<thread:word>\> <message>",
    "clickhouse": (
        r"<timestamp:%Y.%m.%d %H:%M:%S%.f> \[ <tid:int> \] {<db.query.id>} \<<level>\> <logger>: <message>"
    ),
    "envoy": r"\[<timestamp:%+>\]\[<tid:int>\]\[<level>\]\[<logger>\] (\[<file:word>:<line:int>\] )?<message>",
    "php": r"\[<timestamp:%d-%b-%Y %H:%M:%S %Z>\] <message>",
    "php-fpm": r"\[<timestamp:%d-%b-%Y %H:%M:%S>\] <level>: <message>",
    "monolog": r"\[<timestamp:%+>\] <logger:word>.<level>: <message>",
    "ruby": r"<_:name>, \[<timestamp:%+> #<pid:int>\] <level> -- <program>: <message>",
    # Go, Rust, C++, .NET
    "klog": r"<level:letter><timestamp:%m%d %H:%M:%S%.f> <tid:int> <file:word>:<line:int>\] <message>",
    "glog": r"<level:letter><timestamp:%Y%m%d %H:%M:%S%.f> <tid:int> <file:word>:<line:int>\] <message>",
    "go-log": "<timestamp:%Y/%m/%d %H:%M:%S%.f> <message>",
    "go-log-file": "<timestamp:%Y/%m/%d %H:%M:%S%.f> <file:word>:<line:int>: <message>",
    "go-log-level": r"<timestamp:%Y/%m/%d %H:%M:%S%.f> \[<level>\] <message>",
    "gin": r"\[GIN\] <timestamp:%Y/%m/%d - %H:%M:%S> | <message>",
    "zap": "<timestamp:%+> <level> (<logger:name> )?<file:word>:<line:int> <message>",
    "capnslog": "<timestamp:%+> <level:letter> | <logger:name>: <message>",
    "hclog": r"<timestamp:%+> \[<level>\] <logger:name>: <message>",
    "nats": r"\[<pid:int>\] <timestamp:%Y/%m/%d %H:%M:%S%.f> \[<level>\] <message>",
    "telegraf": "<timestamp:%+> <level:letter>! <message>",
    "logrus": '(time=)?(")?<timestamp:%+>(")? level=<level> <message>',
    "go-kit": "ts=<timestamp:%+> caller=<file:word> level=<level> <message>",
    "env-logger": r"\[<timestamp:%+> <level> <logger:word>\] <message>",
    "tracing": "<timestamp:%+> <level> <logger:word>: <message>",
    "serilog": r"\[<timestamp:%T%.f> <level>\] <message>",
    "serilog-file": r"<timestamp:%Y-%m-%d %H:%M:%S%.f %z> \[<level>\] <message>",
    "dotnet": r"<level>: <logger:word>\[<event.id:int>\]\n\s*<message>",
})  # fmt: skip


#: Name -> compiled preset.
PRESETS: Mapping[str, HeaderFormat] = MappingProxyType(
    {name: parse_format(text, name=name) for name, text in DECLARATIONS.items()}
)


def format_of(text: str) -> HeaderFormat:
    """Return the preset of that name, or what a declaration compiles to.

    Raises:
        WrongFormat: neither a preset nor a declaration.
    """
    if text in PRESETS:
        return PRESETS[text]
    if "<" not in text:
        raise WrongFormat(
            f"no header preset is named {text!r}; there are {', '.join(sorted(PRESETS))},"
            " or declare a format such as `<Date> <Time> <Level> <Component>: <Content>`"
        )
    return parse_format(text)
