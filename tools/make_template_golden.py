#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Chat templates against jinja2 (made with 3.1.6) in the settings that Hugging Face gives it.

  make_template_golden.py BINARY                                renders everything with both and stops at a difference
  make_template_golden.py BINARY --write tests/golden/templates.json

Cases: small templates for every statement, filter, test and method; and the built-in templates with conversations. A
case holds what jinja2 prints, or the class of its exception. `safe` is the identity for both.
"""
import datetime
import json
import subprocess
import sys

import jinja2
import jinja2.ext
import jinja2.sandbox

SMALL = [
    # printing
    "{{ none }} {{ true }} {{ 1.5 }} {{ 1e20 }} {{ 0.00001 }} {{ [none, 'a', 2.0] }} {{ {'k': (1, 2)} }} {{ (3,) }}",
    "{{ missing }}|{{ d.nothing }}|{{ d['nothing'] }}|{{ l[99] }}|{{ s[99] }}", "{{ missing.a }}", "{{ missing['a'] }}", "{{ missing() }}",
    "{{ 'a' 'b' \"c\" }} {{ 'tab\\tnew\\nline' }} {{ 'caf\\u00e9' }} {{ \"it's\" }} {{ ['it\\'s', '\"', '\\\\'] }}",
    "{{ ['\\u200b\\xa0', 'e\\u0301', '\\x00', '\\x7f'] }}",
    # whitespace
    "a\n{% if true %}\n  b\n{% endif %}\nc\n\n", "  {%- if true -%}  x  {%- endif -%}  y", "a {# c #} b\n{# d #}\ne {#- f -#} g", "{% if true %} {{ 1 }}\n{% endif %}\n",
    "   {%+ if true %}x{%+ endif %}\ny", "a\n   {{ 1 }}\n b\n\t{% set q = 1 %}\t\nc", "{% raw %}\n {{ x }} {% if %}\n{% endraw %}\nz", "{%- raw -%}  {{ y }}  {%- endraw -%} z", "x\r\ny{{ '\r\n' }}z\r",
    "{% for i in [1, 2] %}\n  - {{ i }}\n{% endfor %}\nend", "{% if true %}a{% endif %}\n\n{% if true %}b{% endif %}  \n c",
    # operators
    "{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 1 + 2.5 }} {{ 3 * 'ab' }} {{ [1] * 2 }} {{ [1] + [2] }}",
    "{{ 1 / 0 }}", "{{ 'a' + 1 }}", "{{ 1 + 'a' }}", "{{ none + 1 }}", "{{ missing + 1 }}", "{{ 'a' ~ 1 ~ none ~ missing }}", "{{ -2 ** 2 }} {{ (-2) ** 2 }} {{ -1|abs }} {{ +3 }}",
    "{{ 1 < 2 < 3 }} {{ 3 > 2 > 2 }} {{ 1 == true }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ 'a' != 'b' }}", "{{ 1 < 'a' }}",
    "{{ 'a' in 'cat' }} {{ 1 in [1] }} {{ 'k' in d }} {{ 'z' not in d }} {{ 1 in missing }}", "{{ 1 in 5 }}", "{{ not true or true and false }} {{ 0 or '' or 'x' }} {{ 1 and 2 }}",
    "{{ 'yes' if 1 else 'no' }} {{ 'yes' if 0 }}| {{ 1 if 0 else 2 if 0 else 3 }}", "{{ 1 ~ 2 * 3 }} {{ 'a' ~ 'b' if true else 'c' }}",
    # items and slices
    "{{ l[0] }}{{ l[-1] }} {{ l[1:] }} {{ l[:-1] }} {{ l[::2] }} {{ l[::-1] }} {{ l[5:] }} {{ s[1:3] }} {{ s[::-1] }} {{ s[-2:] }} {{ (1, 2, 3)[1:] }}", "{{ l['a'] is defined }} {{ d.k.upper() }} {{ d['k'][0] }}",
    "{{ l[1.0] is defined }}", "{{ 5[1] is defined }}", "{{ l[::0] }}", "{{ d[1:] }}",
    # filters
    "{{ l|length }} {{ s|length }} {{ d|length }} {{ missing|length }} {{ 'é中'|length }}", "{{ 5|length }}", "{{ l|first }} {{ l|last }} {{ []|first is defined }} {{ s|first }}", "{{ l|join }} {{ l|join('-') }} {{ m|join(',', attribute='n') }}",
    "{{ l|map('string')|list }} {{ m|map(attribute='n')|list }} {{ m|map(attribute='zz', default='q')|list }} {{ ['a ', ' b']|map('trim')|list }} {{ ['a']|map('upper')|first }}",
    "{{ l|select('odd')|list }} {{ l|reject('odd')|list }} {{ [0, 1, '']|select|list }} {{ m|selectattr('n', 'equalto', 2)|list }} {{ m|selectattr('f')|map(attribute='n')|list }} {{ m|rejectattr('f')|map(attribute='n')|list }}",
    "{{ m|selectattr('n', 'gt', 1)|list|length }} {{ m|selectattr('n', 'in', [1, 3])|map(attribute='n')|list }} {{ m|selectattr('q', 'defined')|list }}",
    "{{ [3, 1, 2]|sort }} {{ ['b', 'A', 'c']|sort }} {{ ['b', 'A', 'c']|sort(case_sensitive=true) }} {{ [1, 2]|sort(reverse=true) }} {{ m|sort(attribute='n', reverse=true)|map(attribute='n')|list }}", "{{ [1, 'a']|sort }}",
    "{{ ['a', 'A', 'b', 'a']|unique|list }} {{ {'b': 1, 'A': 2}|dictsort }} {{ {'b': 1, 'a': 2}|dictsort(by='value') }}", "{{ d|items|list }} {{ missing|items|list }}", "{{ 5|items|list }}",
    "{{ '  x '|trim }}| {{ 'xxaxx'|trim('x') }} {{ 'aXb'|upper }} {{ 'aXb'|lower }} {{ 'hello wORLD'|capitalize }} {{ 'hello wORLD x-y'|title }}", "{{ 'a-b-c'|replace('-', '+') }} {{ 'aaa'|replace('a', 'b', 2) }}",
    "{{ '3.7'|int }} {{ 'x'|int }} {{ 'x'|int(5) }} {{ 3.9|int }} {{ ' 42 '|int }} {{ '1.5'|float }} {{ 'x'|float }} {{ 2|float }} {{ true|int }}", "{{ missing|default('d') }} {{ ''|default('d') }}| {{ ''|default('d', true) }} {{ none|d('x', boolean=true) }}",
    "{{ 'a\\nb\\n\\nc'|indent }} {{ 'a\\nb'|indent(2, true) }} {{ 'a\\n\\nb'|indent(1, blank=true) }} {{ 'a\\nb'|indent('> ') }}", "{{ [1, 2, 3]|sum }} {{ [1.5, 2]|sum }} {{ m|sum(attribute='n') }} {{ [3, 1]|min }} {{ ['a', 'B']|max }} {{ [1, 2]|reverse|list }} {{ 'abc'|reverse }}",
    "{{ 2.5|round }} {{ 2.567|round(2) }} {{ 2.1|round(0, 'ceil') }} {{ 2.9|round(method='floor') }} {{ -3|abs }} {{ -3.5|abs }}", "{{ 'a b  c'|wordcount }} {{ 1|string ~ 2 }} {{ 'abc'|list }} {{ d|list }}",
    "{{ {'a': [1, 2.0, none, true, 'é<&>\"\\\\\\n\\x1f/']}|tojson }} {{ []|tojson }} {{ {}|tojson }} {{ (1, 'a')|tojson }} {{ 'é'|tojson(ensure_ascii=true) }} {{ '\U0001F600'|tojson(ensure_ascii=true) }}",
    "{{ {'b': [1, {'c': []}], 'a': {}}|tojson(indent=2) }} {{ {'b': 1, 'a': 2}|tojson(sort_keys=true) }} {{ 1e16|tojson }} {{ 0.1|tojson }}", "{{ missing|tojson }}", "{{ x|nofilter }}", "{{ (1).upper() }}",
    # tests
    "{{ 1 is defined }} {{ missing is defined }} {{ missing is undefined }} {{ none is none }} {{ missing is none }} {{ 'a' is string }} {{ 1 is string }} {{ 1 is number }} {{ true is number }} {{ 1.0 is float }} {{ 1 is integer }} {{ true is integer }} {{ true is boolean }}",
    "{{ d is mapping }} {{ l is mapping }} {{ l is iterable }} {{ 1 is iterable }} {{ missing is iterable }} {{ l is sequence }} {{ d is sequence }} {{ 1 is sequence }} {{ true is true }} {{ 1 is true }} {{ false is false }} {{ range is callable }}",
    "{{ 4 is even }} {{ 3 is odd }} {{ 6 is divisibleby 3 }} {{ 6 is divisibleby(4) }} {{ 1 is eq 1 }} {{ 1 is ne(2) }} {{ 1 is lt 2 }} {{ 2 is ge 2 }} {{ 'a' is in ['a'] }} {{ 1 is not none }} {{ not 1 is none }} {{ 'ab' is lower }} {{ 'AB' is upper }}", "{{ 1 is notest }}",
    "{{ 1 == 1 is true }} {{ (1 == 1) is true }}",
    # methods
    "{{ ' a '.strip() }}|{{ 'xax'.strip('x') }} {{ '##a'.lstrip('#') }} {{ 'a\\n'.rstrip('\\n') }} {{ 'a,b,,c'.split(',') }} {{ ' a  b '.split() }} {{ 'a b c'.split(' ', 1) }} {{ 'a b c'.split(maxsplit=1) }} {{ 'a b c'.rsplit(' ', 1) }} {{ 'a\\nb\\n'.splitlines() }}",
    "{{ 'abc'.startswith('a') }} {{ 'abc'.endswith(('x', 'c')) }} {{ 'a'.upper() }} {{ 'A'.lower() }} {{ 'ab cd'.title() }} {{ 'aB'.capitalize() }} {{ 'a.b'.replace('.', '') }} {{ 'abc'.find('c') }} {{ 'abc'.find('z') }} {{ 'aXa'.count('a') }} {{ '-'.join(['a', 'b']) }}",
    "{{ '12'.isdigit() }} {{ 'a1'.isalnum() }} {{ 'ab'.isalpha() }} {{ ' '.isspace() }} {{ 'AB'.isupper() }} {{ 'ab'.islower() }} {{ 'a=b=c'.partition('=') }} {{ 'abc'.removeprefix('a') }} {{ 'abc'.removesuffix('c') }} {{ '{} {}'.format(1, 'x') }} {{ '{a}'.format(a=2) }}", "{{ 'abc'.index('z') }}", "{{ 'a'.split('') }}", "{{ ','.join([1]) }}", "{{ 'a'.nothing() }}",
    "{{ d.items()|list }} {{ d.keys()|list }} {{ d.values()|list }} {{ d.get('k') }} {{ d.get('z') }} {{ d.get('z', 1) }} {{ l.index(2) }} {{ l.count(2) }}", "{{ l.append(1) }}", "{{ d.update({}) }}", "{{ d.pop('k') }}",
    "{{ '%s-%d' % ('a', 3) }} {{ '%s' % 'x' }} {{ '100%%' % () }}",
    # statements
    "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.previtem }}{{ loop.nextitem }} {% else %}none{% endfor %}", "{% for x in [] %}a{% else %}none{% endfor %}{% for x in missing %}a{% else %}b{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %} {% for k in d %}{{ k }}{% endfor %} {% for c in 'ab' %}{{ c }}.{% endfor %} {% for a, b in [(1, 2), (3, 4)] %}{{ a }}{{ b }}{% endfor %}", "{% for a, b in [1] %}{% endfor %}", "{% for x in 5 %}{% endfor %}",
    "{% for x in range(10) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 5 %}{% break %}{% endif %}{{ x }}{% endfor %}", "{% for x in l if x > 1 %}{{ loop.index }}:{{ x }} {% endfor %}", "{% for x in l %}{{ loop.cycle('a', 'b') }}{{ loop.changed(x > 1) }} {% endfor %}",
    "{% for x in [1, 2] %}{% for y in [3, 4] %}{{ loop.index }}{{ loop.depth0 }}{{ x }}{{ y }} {% endfor %}{{ loop.index }}{% endfor %}", "{% set a = 1 %}{% for x in l %}{% set a = a + x %}{{ a }} {% endfor %}{{ a }}", "{% if true %}{% set b = 2 %}{% endif %}{{ b }}",
    "{% set ns = namespace(n=0, q='x') %}{% for x in l %}{% set ns.n = ns.n + x %}{% endfor %}{{ ns.n }}{{ ns.q }}{{ ns.zz }}", "{% set d.k = 1 %}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set c = 1, 2 %}{{ c }}", "{% set t %}  x{{ 1 }} {% endset %}[{{ t }}]{% set u | upper | trim %} abc {% endset %}[{{ u }}]",
    "{% macro f(a, b='B', c=none) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ f(1) }} {{ f(1, 2) }} {{ f(b=3, a=4) }} {{ f() }}|{{ f('x')|upper }}", "{% macro g(n) %}{{ n }}{% if n > 0 %}{{ g(n - 1) }}{% endif %}{% endmacro %}{{ g(5) }}", "{% macro h() %}{{ later }}{{ x is defined }}{% endmacro %}{% set later = 1 %}{% for x in [1] %}{{ h() }}{% endfor %}",
    "{% macro box(t) %}<{{ t }}:{{ caller() }}>{% endmacro %}{% call box('a') %}in{{ s }}{% endcall %}", "{% macro each(l) %}{% for x in l %}{{ caller(x) }},{% endfor %}{% endmacro %}{% call(v) each([1, 2]) %}v{{ v }}{% endcall %}", "{% filter upper %}a{{ s }}{% endfilter %}{% filter replace('a', 'b') %}aa{% endfilter %}",
    "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a }}", "{% generation %}x{{ 1 }}{% endgeneration %}y", "{% if a %}1{% elif b is defined %}2{% elif s %}3{% else %}4{% endif %}", "{{ raise_exception('no: ' ~ s) }}", "{{ strftime_now('%d %b %Y') }} {{ strftime_now('%Y-%m-%d') }}",
    "{{ namespace(a=1).a }} {{ dict(a=1, b='x') }} {{ range(3)|list }} {{ range(1, 8, 3)|list }} {{ range(3, 0, -1)|list }}", "{{ range(100001) }}", "{% set f = 'trim' %}{{ [' a']|map(f)|list }}",
    # what is no template
    "{% if %}", "{{ }}", "{{ 1 + }}", "{% for x in %}{% endfor %}", "{% if true %}", "{% endif %}", "{{ 'a }}", "{% unknown %}", "{{ a b }}", "{% set 1 = 2 %}", "{{ f(a=1, 2) }}", "{# open", "{% break %}", "{% else %}", "{{ 'a' | }}", "{{ [1, }}", "{% macro %}{% endmacro %}",
]
CONTEXT = {"d": {"k": "v", "n": 1}, "l": [1, 2, 3], "s": "héllo", "m": [{"n": 1, "f": True}, {"n": 2, "f": False}, {"n": 3, "f": True}]}

TOOL = {"type": "function", "function": {"name": "look_up", "description": "Looks <up> & \"finds\"", "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "description": "Where"}, "days": {"type": "integer", "default": 3}}, "required": ["city"]}}}
CALL = [{"id": "call00001", "type": "function", "function": {"name": "look_up", "arguments": {"city": "Z\u00fcrich", "days": 2}}}]
U, A, S = (lambda t: {"role": "user", "content": t}), (lambda t: {"role": "assistant", "content": t}), {"role": "system", "content": "Be kind."}
CHATS = [
    {"messages": [U("Hi")]}, {"messages": [S, U("Hi"), A("Hello!"), U("Bye")]}, {"messages": [S, U("Hi"), A("Hello!")], "add_generation_prompt": False},
    {"messages": [U("a"), A("<think>\nhm\n</think>\n\nb"), U("c"), A("<think>\nso\n</think>\n\nd")], "add_generation_prompt": False},
    {"messages": [S, U("Weather?")], "tools": [TOOL]}, {"messages": [U("Weather?"), {"role": "assistant", "content": None, "tool_calls": CALL}, {"role": "tool", "tool_call_id": "call00001", "content": "{\"t\": 1}"}], "tools": [TOOL]},
    {"messages": [U("Weather?"), {"role": "assistant", "content": "", "tool_calls": CALL}, {"role": "tool", "tool_call_id": "call00001", "content": "sun"}, A("It is sunny."), U("Thanks")], "tools": [TOOL]},
    {"messages": [U("Hi")], "enable_thinking": False, "thinking": False}, {"messages": [U("Hi")], "enable_thinking": True, "thinking": True, "open_thinking": True},
    {"messages": [U("  <|im_end|> [INST] & < \u4e2d\u6587 \n")]}, {"messages": [U("a"), U("b")]}, {"messages": [S, U("a"), S, U("b"), A("c")], "add_generation_prompt": False},
    {"messages": [U("a"), {"role": "assistant", "content": "b", "reasoning_content": "r"}], "add_generation_prompt": False, "reasoning_effort": "high"},
]
NOW = datetime.datetime(2026, 1, 2)


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        lineno = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_same"), [], [], body).set_lineno(lineno)

    def _same(self, caller):
        return caller()


def environment():
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.filters["safe"] = lambda x: x
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda f: NOW.strftime(f)
    return env


def expected(env, source, context):
    try:
        return {"render": env.from_string(source).render(**context)}
    except Exception as e:
        return {"error": type(e).__name__}


def ours(binary, template, context):
    done = subprocess.run([binary, "template", "render", "--template", template, "--context", "-"], input=json.dumps(context).encode(), capture_output=True)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def main():
    binary = sys.argv[1]
    env = environment()
    cases = [{"template": t, "context": CONTEXT, **expected(env, t, {**CONTEXT, "add_generation_prompt": True, "bos_token": "", "eos_token": ""})} for t in SMALL]
    names = subprocess.run([binary, "template", "list"], capture_output=True, text=True, check=True).stdout.split()
    for name in names:
        source = subprocess.run([binary, "template", "show", "--template", name], capture_output=True, text=True, check=True).stdout[:-1]
        for chat in CHATS:
            context = {"add_generation_prompt": True, **chat, "bos_token": "<BOS>", "eos_token": "<EOS>"}
            cases.append({"name": name, "context": {**context, "now": "2026-01-02"}, **expected(env, source, context)})
    different = 0
    for case in cases:
        template = case.get("name")
        if not template:
            with open("/tmp/template.jinja", "w", newline="") as f:
                f.write(case["template"])
            template = "/tmp/template.jinja"
        code, out, error = ours(binary, template, {"now": "2026-01-02", **case["context"]})
        same = (code == 0 and out == case.get("render")) if "render" in case else (code != 0 and case["error"] in error)
        if not same:
            different += 1
            print("%r\n  jinja2 %r\n  ours   %r %s" % (case.get("name", case.get("template")), case.get("render", case.get("error")), out, error))
    print("%d cases, %d differ" % (len(cases), different))
    if len(sys.argv) > 3 and not different:
        with open(sys.argv[3], "w", encoding="utf-8") as f:
            json.dump({"context": CONTEXT, "cases": [{k: v for k, v in c.items() if k != "context" or "name" in c} for c in cases]}, f, ensure_ascii=False, indent=0)
    sys.exit(different != 0)


main()
