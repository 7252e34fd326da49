// SPDX-License-Identifier: MIT
// The templates of model families, written for this program from the formats that they print. Where
// the formats agree, families share parts.
#include "moe/base/str.h"
#include "moe/text/chat_template.h"

namespace moe {
namespace {

constexpr std::string_view kChatml = R"jinja(
{%- for m in messages %}
    {{- '<|im_start|>' + m.role + '\n' }}
    {%- if m.role == 'assistant' %}
        {%- generation %}{{- m.content + '<|im_end|>' }}{% endgeneration %}
    {%- else %}
        {{- m.content + '<|im_end|>' }}
    {%- endif %}
    {{- '\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{% endif %})jinja";

// Shared by Qwen2.5, Qwen3 and MiniMind: the system turn that declares tools.
std::string qwen_tools() {
  return str(
      R"jinja({{- '# Tools\n\nYou may call one or more functions to assist with the user query.\n\n' }}
        {{- 'You are provided with function signatures within <tools></tools> XML tags:\n<tools>' }}
        {%- for tool in tools %}{{- '\n' + tool|tojson }}{% endfor %}
        {{- '\n</tools>\n\nFor each function call, return a json object with function name and arguments ' }}
        {{- 'within <tool_call></tool_call> XML tags:\n<tool_call>\n' }}
        {{- '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call><|im_end|>\n' }})jinja");
}

// Tool results lie in one user turn.
std::string qwen_tool_turn() {
  return str(R"jinja({%- elif m.role == 'tool' %}
        {%- if loop.first or loop.previtem.role != 'tool' %}{{- '<|im_start|>user' }}{% endif %}
        {{- '\n<tool_response>\n' + (m.content if m.content is string else '') + '\n</tool_response>' }}
        {%- if loop.last or loop.nextitem.role != 'tool' %}{{- '<|im_end|>\n' }}{% endif %}
    )jinja");
}

std::string qwen25() {
  return str(R"jinja(
{%- set given = messages and messages[0].role == 'system' %}
{%- set system = messages[0].content if given else 'You are Qwen, created by Alibaba Cloud. You are a helpful assistant.' %}
{{- '<|im_start|>system\n' + system }}
{%- if tools %}
    {{- '\n\n' }})jinja",
             qwen_tools(), R"jinja(
{%- else %}
    {{- '<|im_end|>\n' }}
{%- endif %}
{%- for m in messages %}
    {%- if m.role == 'user' or (m.role == 'system' and not loop.first) %}
        {{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}
    {%- elif m.role == 'assistant' %}
        {{- '<|im_start|>assistant' }}
        {%- if not m.tool_calls %}{{- '\n' }}{% endif %}
        {%- generation %}
        {%- if not m.tool_calls %}
            {{- m.content }}
        {%- elif m.content %}
            {{- '\n' + m.content }}
        {%- endif %}
        {%- for call in m.tool_calls or [] %}
            {%- set f = call.function or call %}
            {{- '\n<tool_call>\n{"name": "' + f.name + '", "arguments": ' + f.arguments|tojson + '}\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>' }}
        {%- endgeneration %}
        {{- '\n' }}
    )jinja",
             qwen_tool_turn(), R"jinja({%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{% endif %})jinja");
}

std::string qwen3_head() {
  return str(R"jinja(
{%- set system = messages[0].content if messages and messages[0].role == 'system' else none %}
{%- if tools %}
    {{- '<|im_start|>system\n' + (system + '\n\n' if system is string else '') }}
    )jinja",
             qwen_tools(), R"jinja(
{%- elif system is string %}
    {{- '<|im_start|>system\n' + system + '<|im_end|>\n' }}
{%- endif %}
{#- What a person asked last: a user turn that is no tool's answer. #}
{%- set query = namespace(last=messages|length - 1, found=false) %}
{%- for m in messages|reverse %}
    {%- if not query.found and m.role == 'user' and m.content is string and not (m.content.startswith('<tool_response>') and m.content.endswith('</tool_response>')) %}
        {%- set query.found = true %}
        {%- set query.last = loop.revindex0 %}
    {%- endif %}
{%- endfor %}
{%- for m in messages %}
    {%- set content = m.content if m.content is string else '' %}
    {%- if m.role == 'user' or (m.role == 'system' and not loop.first) %}
        {{- '<|im_start|>' + m.role + '\n' + content + '<|im_end|>\n' }}
    {%- elif m.role == 'assistant' %}
        {%- set thought = '' %}
        {%- if m.reasoning_content is string %}
            {%- set thought = m.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set thought = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\n') %}
        {%- endif %}
        {{- '<|im_start|>assistant\n' }}
        {%- generation %}
        )jinja");
}

std::string qwen3_tail() {
  return str(R"jinja(
        {%- for call in m.tool_calls or [] %}
            {%- if content or not loop.first %}{{- '\n' }}{% endif %}
            {%- set f = call.function or call %}
            {{- '<tool_call>\n{"name": "' + f.name + '", "arguments": ' }}
            {{- f.arguments if f.arguments is string else f.arguments|tojson }}
            {{- '}\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>' }}
        {%- endgeneration %}
        {{- '\n' }}
    )jinja",
             qwen_tool_turn(), R"jinja({%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    )jinja");
}

std::string qwen3() {
  return str(
      qwen3_head(), R"jinja({%- if loop.index0 > query.last and (loop.last or thought) %}
            {{- '<think>\n' + thought.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }}
        {%- else %}
            {{- content }}
        {%- endif %})jinja",
      qwen3_tail(),
      R"jinja({%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{% endif %}
{%- endif %})jinja");
}

std::string minimind3() {
  return str(
      qwen3_head(),
      R"jinja({{- '<think>\n' + thought.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }})jinja",
      qwen3_tail(),
      R"jinja({{- '<think>\n' if open_thinking is defined and open_thinking is true else '<think>\n\n</think>\n\n' }}
{%- endif %})jinja");
}

constexpr std::string_view kQwen3Coder = R"jinja(
{%- macro extras(fields, known) %}
    {%- for key, value in fields|items %}
        {%- if key not in known %}
            {{- '\n<' + key + '>' + (value|string if value is string or (value is not mapping and value is not sequence) else value|tojson) + '</' + key + '>' }}
        {%- endif %}
    {%- endfor %}
{%- endmacro %}
{%- set given = messages and messages[0].role == 'system' %}
{%- if given or tools %}
    {{- '<|im_start|>system\n' + (messages[0].content if given else 'You are Qwen, a helpful AI assistant that can interact with a computer to solve tasks.') }}
{%- endif %}
{%- if tools %}
    {{- '\n\n# Tools\n\nYou have access to the following tools:\n\n<tools>' }}
    {%- for tool in tools %}
        {%- set f = tool.function or tool %}
        {{- '\n<function>\n<name>' + f.name + '</name>' }}
        {%- if f.description is defined %}{{- '\n<description>' + f.description|trim + '</description>' }}{% endif %}
        {{- '\n<parameters>' }}
        {%- if f.parameters is mapping and f.parameters.properties is mapping %}
            {%- for name, fields in f.parameters.properties|items %}
                {{- '\n<parameter>\n<name>' + name + '</name>' }}
                {%- if fields.type is defined %}{{- '\n<type>' + fields.type|string + '</type>' }}{% endif %}
                {%- if fields.description is defined %}{{- '\n<description>' + fields.description|trim + '</description>' }}{% endif %}
                {{- extras(fields, ['name', 'type', 'description']) }}
                {{- '\n</parameter>' }}
            {%- endfor %}
        {%- endif %}
        {%- if f.parameters is mapping %}{{- extras(f.parameters, ['type', 'properties']) }}{% endif %}
        {{- '\n</parameters>' }}
        {{- extras(f, ['type', 'name', 'description', 'parameters']) }}
        {{- '\n</function>' }}
    {%- endfor %}
    {{- '\n</tools>\n\nIf you choose to call a tool ONLY reply in the following format with NO suffix:\n\n' }}
    {{- '<tool_call>\n<function=example_function_name>\n<parameter=example_parameter_1>\nvalue_1\n</parameter>\n' }}
    {{- '<parameter=example_parameter_2>\nvalue_2\n</parameter>\n</function>\n</tool_call>\n\n<IMPORTANT>\nReminder:\n' }}
    {{- '- Function calls MUST follow the specified format: the tool calling block MUST begin with an opening <tool_call> tag and end with a closing </tool_call> tag.\n' }}
    {{- '- Required parameters MUST be specified\n' }}
    {{- '- You may provide optional reasoning for your function call in natural language BEFORE the function call, but NOT after\n' }}
    {{- '- If there is no function call available, answer the question like normal with your current knowledge and do not tell the user about function calls\n</IMPORTANT>' }}
{%- endif %}
{%- if given or tools %}{{- '<|im_end|>\n' }}{% endif %}
{%- for m in messages %}
    {%- if m.role == 'assistant' %}
        {{- '<|im_start|>assistant' }}
        {%- if not m.tool_calls %}{{- '\n' }}{% endif %}
        {%- generation %}
        {%- if m.tool_calls %}
            {%- if m.content is string and m.content|trim %}{{- '\n' + m.content|trim + '\n' }}{% endif %}
            {%- for call in m.tool_calls %}
                {%- set f = call.function or call %}
                {{- '\n<tool_call>\n<function=' + f.name + '>\n' }}
                {%- for name, value in f.arguments|items %}
                    {{- '<parameter=' + name + '>\n' + (value if value is string else value|tojson) + '\n</parameter>\n' }}
                {%- endfor %}
                {{- '</function>\n</tool_call>' }}
            {%- endfor %}
        {%- else %}
            {{- m.content }}
        {%- endif %}
        {{- '<|im_end|>' }}
        {%- endgeneration %}
        {{- '\n' }}
    {%- elif m.role == 'tool' %}
        {%- if loop.first or loop.previtem.role != 'tool' %}{{- '<|im_start|>user\n' }}{% endif %}
        {{- '<tool_response>\n' + m.content + '\n</tool_response>\n' }}
        {%- if loop.last or loop.nextitem.role != 'tool' %}{{- '<|im_end|>\n' }}{% endif %}
    {%- elif m.role != 'system' or not loop.first %}
        {{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{% endif %})jinja";

std::string llama3(std::string_view today) {
  return str(R"jinja(
{{- bos_token }}
{%- set in_user = tools_in_user_message if tools_in_user_message is defined else true %}
{%- set given = messages and messages[0].role == 'system' %}
{%- set system = messages[0].content|trim if given else '' %}
{%- set turns = messages[1:] if given else messages %}
{%- set form = 'Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}.Do not use variables.\n\n' %}
{{- '<|start_header_id|>system<|end_header_id|>\n\n' }}
{%- if tools or builtin_tools %}{{- 'Environment: ipython\n' }}{% endif %}
{%- if builtin_tools %}{{- 'Tools: ' + builtin_tools|reject('equalto', 'code_interpreter')|join(', ') + '\n\n' }}{% endif %}
{{- 'Cutting Knowledge Date: December 2023\nToday Date: ' + (date_string if date_string is defined else )jinja",
             today, R"jinja() + '\n\n' }}
{%- if tools and not in_user %}
    {{- 'You have access to the following functions. To call a function, please respond with JSON for a function call.' + form }}
    {%- for tool in tools %}{{- tool|tojson(indent=4) + '\n\n' }}{% endfor %}
{%- endif %}
{{- system + '<|eot_id|>' }}
{%- for m in turns %}
    {%- if loop.first and tools and in_user %}
        {{- '<|start_header_id|>user<|end_header_id|>\n\nGiven the following functions, please respond with a JSON for a function call with its proper arguments that best answers the given prompt.\n\n' + form }}
        {%- for tool in tools %}{{- tool|tojson(indent=4) + '\n\n' }}{% endfor %}
        {{- m.content|trim + '<|eot_id|>' }}
    {%- elif m.tool_calls %}
        {%- if m.tool_calls|length != 1 %}{{- raise_exception('This model only supports single tool-calls at once!') }}{% endif %}
        {%- set f = m.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
        {%- generation %}{{- '{"name": "' + f.name + '", "parameters": ' + f.arguments|tojson + '}<|eot_id|>' }}{% endgeneration %}
    {%- elif m.role in ['tool', 'ipython'] %}
        {{- '<|start_header_id|>ipython<|end_header_id|>\n\n' + (m.content|tojson if m.content is iterable else m.content|string) + '<|eot_id|>' }}
    {%- elif m.role == 'assistant' %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
        {%- generation %}{{- m.content|trim + '<|eot_id|>' }}{% endgeneration %}
    {%- else %}
        {{- '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content|trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %})jinja");
}

constexpr std::string_view kMistralV1 = R"jinja(
{{- bos_token }}
{%- set state = namespace(system='', last='') %}
{%- for m in messages %}
    {%- if m.role == 'system' and state.last in ['', 'system'] %}
        {%- set state.system = m.content + '\n\n' %}
    {%- elif m.role == 'user' and state.last in ['', 'system', 'assistant'] %}
        {{- ' [INST] ' + state.system + m.content + ' [/INST]' }}
        {%- set state.system = '' %}
    {%- elif m.role == 'assistant' and state.last == 'user' %}
        {%- generation %}{{- ' ' + m.content + eos_token }}{% endgeneration %}
    {%- else %}
        {{- raise_exception("Unexpected role '" + m.role + "' after role '" + state.last + "'") }}
    {%- endif %}
    {%- set state.last = m.role %}
{%- endfor %})jinja";

// SPACE stands behind every opening tag. The system's text goes to the last user turn.
std::string mistral_calls(std::string_view space) {
  return str(R"jinja({{- '[TOOL_CALLS])jinja", space, R"jinja([' }}
            {%- for call in m.tool_calls %}
                {%- set f = call.function %}
                {%- if call.id is not defined or call.id|length != 9 %}
                    {{- raise_exception('Tool call IDs should be alphanumeric strings with length 9!') }}
                {%- endif %}
                {{- '{"name": "' + f.name + '", "arguments": ' + (f.arguments if f.arguments is string else f.arguments|tojson) + ', "id": "' + call.id + '"}' }}
                {%- if not loop.last %}{{- ', ' }}{% endif %}
            {%- endfor %}
            {{- ']' + eos_token }})jinja");
}

std::string mistral_v3(std::string_view space) {
  return str(
      R"jinja(
{{- bos_token }}
{%- set system = messages[0].content + '\n\n' if messages and messages[0].role == 'system' else '' %}
{%- set turn = namespace(last_user=-1, before='') %}
{%- for m in messages %}{%- if m.role == 'user' %}{%- set turn.last_user = loop.index0 %}{% endif %}{% endfor %}
{%- for m in messages %}
    {%- if m.role == 'system' and loop.first %}
    {%- elif m.role == 'user' and turn.before in ['', 'assistant', 'tool'] %}
        {%- if loop.index0 == turn.last_user %}
            {%- if tools %}{{- '[AVAILABLE_TOOLS])jinja",
      space, R"jinja(' + tools|tojson + '[/AVAILABLE_TOOLS]' }}{% endif %}
            {{- '[INST])jinja",
      space, R"jinja(' + system + m.content + '[/INST]' }}
        {%- else %}
            {{- '[INST])jinja",
      space, R"jinja(' + m.content + '[/INST]' }}
        {%- endif %}
        {%- set turn.before = 'user' %}
    {%- elif m.role == 'assistant' and turn.before in ['user', 'tool'] %}
        {%- generation %}
        {%- if m.content %}{{- ')jinja",
      space, R"jinja(' + m.content + (eos_token if not m.tool_calls else '') }}{% endif %}
        {%- if m.tool_calls %}
            )jinja",
      mistral_calls(space), R"jinja(
        {%- endif %}
        {%- endgeneration %}
        {%- set turn.before = 'assistant' %}
    {%- elif m.role == 'tool' and turn.before in ['assistant', 'tool'] %}
        {{- '[TOOL_RESULTS])jinja",
      space,
      R"jinja({"content": ' + m.content|tojson + ', "call_id": "' + m.tool_call_id + '"}[/TOOL_RESULTS]' }}
        {%- set turn.before = 'tool' %}
    {%- else %}
        {{- raise_exception("Unexpected role '" + m.role + "' after role '" + turn.before + "'") }}
    {%- endif %}
{%- endfor %})jinja");
}

std::string mistral_v7(std::string_view space) {
  return str(R"jinja(
{{- bos_token }}
{%- set turn = namespace(last_user=-1) %}
{%- for m in messages %}{%- if m.role == 'user' %}{%- set turn.last_user = loop.index0 %}{% endif %}{% endfor %}
{%- for m in messages %}
    {%- if m.role == 'system' %}
        {{- '[SYSTEM_PROMPT])jinja",
             space, R"jinja(' + m.content + '[/SYSTEM_PROMPT]' }}
    {%- elif m.role == 'user' %}
        {%- if tools and loop.index0 == turn.last_user %}{{- '[AVAILABLE_TOOLS])jinja",
             space, R"jinja(' + tools|tojson + '[/AVAILABLE_TOOLS]' }}{% endif %}
        {{- '[INST])jinja",
             space, R"jinja(' + m.content + '[/INST]' }}
    {%- elif m.role == 'assistant' %}
        {%- generation %}
        {%- if m.content %}{{- ')jinja",
             space, R"jinja(' + m.content + (eos_token if not m.tool_calls else '') }}{% endif %}
        {%- if m.tool_calls %}
            )jinja",
             mistral_calls(space), R"jinja(
        {%- endif %}
        {%- endgeneration %}
    {%- elif m.role == 'tool' %}
        {{- '[TOOL_RESULTS])jinja",
             space, R"jinja(' + m.tool_call_id + '[TOOL_CONTENT])jinja", space,
             R"jinja(' + m.content|string + '[/TOOL_RESULTS]' }}
    {%- else %}
        {{- raise_exception("Unexpected role '" + m.role + "'") }}
    {%- endif %}
{%- endfor %})jinja");
}

constexpr std::string_view kDeepseekV31 = R"jinja(
{{- bos_token + messages|selectattr('role', 'equalto', 'system')|map(attribute='content')|join('\n\n') }}
{%- set turn = namespace(before='') %}
{%- for m in messages %}
    {%- if m.role == 'user' %}
        {{- '<｜User｜>' + m.content }}
    {%- elif m.role == 'assistant' %}
        {%- set content = m.content if m.content is string else '' %}
        {%- if turn.before == 'user' %}{{- '<｜Assistant｜>' }}{% endif %}
        {%- generation %}
        {%- if turn.before == 'user' %}{{- '<think></think>' }}{% endif %}
        {{- content.split('</think>', 1)[1] if '</think>' in content else content }}
        {%- for call in m.tool_calls or [] %}
            {%- set f = call.function or call %}
            {%- if loop.first %}{{- '<｜tool▁calls▁begin｜>' }}{% endif %}
            {{- '<｜tool▁call▁begin｜>' + f.name + '<｜tool▁sep｜>' + f.arguments|tojson + '<｜tool▁call▁end｜>' }}
            {%- if loop.last %}{{- '<｜tool▁calls▁end｜>' }}{% endif %}
        {%- endfor %}
        {{- '<｜end▁of▁sentence｜>' }}
        {%- endgeneration %}
    {%- elif m.role == 'tool' %}
        {{- '<｜tool▁output▁begin｜>' + m.content + '<｜tool▁output▁end｜>' }}
    {%- endif %}
    {%- if m.role != 'system' %}{%- set turn.before = m.role %}{% endif %}
{%- endfor %}
{%- if add_generation_prompt and turn.before == 'user' %}
    {{- '<｜Assistant｜><think>' + ('' if thinking else '</think>') }}
{%- endif %})jinja";

constexpr std::string_view kDeepseekR1Distill = R"jinja(
{{- bos_token + (messages|selectattr('role', 'equalto', 'system')|map(attribute='content')|list|last or '') }}
{%- set turn = namespace(before='') %}
{%- for m in messages %}
    {%- if m.role == 'user' %}
        {{- '<｜User｜>' + m.content }}
    {%- elif m.role == 'assistant' %}
        {%- if turn.before == 'tool' %}
            {{- '<｜tool▁outputs▁end｜>' }}
        {%- else %}
            {{- '<｜Assistant｜>' }}
        {%- endif %}
        {%- generation %}
        {%- if m.content is none %}
            {%- for call in m.tool_calls or [] %}
                {%- if loop.first %}{{- '<｜tool▁calls▁begin｜>' }}{% else %}{{- '\n' }}{% endif %}
                {{- '<｜tool▁call▁begin｜>' + call.type + '<｜tool▁sep｜>' + call.function.name + '\n```json\n' }}
                {{- call.function.arguments if call.function.arguments is string else call.function.arguments|tojson }}
                {{- '\n```<｜tool▁call▁end｜>' }}
                {%- if loop.last %}{{- '<｜tool▁calls▁end｜>' }}{% endif %}
            {%- endfor %}
        {%- else %}
            {{- m.content.split('</think>')[-1] }}
        {%- endif %}
        {{- '<｜end▁of▁sentence｜>' }}
        {%- endgeneration %}
    {%- elif m.role == 'tool' %}
        {{- '\n' if turn.before == 'tool' else '<｜tool▁outputs▁begin｜>' }}
        {{- '<｜tool▁output▁begin｜>' + m.content + '<｜tool▁output▁end｜>' }}
    {%- endif %}
    {%- if m.role != 'system' %}{%- set turn.before = m.role %}{% endif %}
{%- endfor %}
{%- if turn.before == 'tool' %}
    {{- '<｜tool▁outputs▁end｜>' }}
{%- elif add_generation_prompt %}
    {{- '<｜Assistant｜><think>\n' }}
{%- endif %})jinja";

constexpr std::string_view kGemma2 = R"jinja(
{{- bos_token }}
{%- if messages and messages[0].role == 'system' %}{{- raise_exception('System role not supported') }}{% endif %}
{%- for m in messages %}
    {%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
    {%- endif %}
    {%- if m.role == 'assistant' %}
        {{- '<start_of_turn>model\n' }}
        {%- generation %}{{- m.content|trim + '<end_of_turn>' }}{% endgeneration %}
        {{- '\n' }}
    {%- else %}
        {{- '<start_of_turn>' + m.role + '\n' + m.content|trim + '<end_of_turn>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<start_of_turn>model\n' }}{% endif %})jinja";

constexpr std::string_view kPhi35 = R"jinja(
{%- for m in messages %}
    {%- if m.role == 'assistant' %}
        {{- '<|assistant|>\n' }}
        {%- generation %}{{- m.content + '<|end|>' }}{% endgeneration %}
        {{- '\n' }}
    {%- elif m.role == 'user' or (m.role == 'system' and m.content) %}
        {{- '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}
    {%- endif %}
{%- endfor %}
{{- '<|assistant|>\n' if add_generation_prompt else eos_token }})jinja";

constexpr std::string_view kGlm46 = R"jinja(
{{- '[gMASK]<sop>' }}
{%- if tools %}
    {{- '<|system|>\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\n' }}
    {{- 'You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n' }}
    {%- for tool in tools %}{{- tool|tojson + '\n' }}{% endfor %}
    {{- '</tools>\n\nFor each function call, output the function name and arguments within the following XML format:\n' }}
    {{- '<tool_call>{function-name}\n<arg_key>{arg-key-1}</arg_key>\n<arg_value>{arg-value-1}</arg_value>\n' }}
    {{- '<arg_key>{arg-key-2}</arg_key>\n<arg_value>{arg-value-2}</arg_value>\n...\n</tool_call>' }}
{%- endif %}
{%- set silent = enable_thinking is defined and not enable_thinking %}
{%- set turn = namespace(last_user=-1) %}
{%- for m in messages %}{%- if m.role == 'user' %}{%- set turn.last_user = loop.index0 %}{% endif %}{% endfor %}
{%- for m in messages %}
    {%- set content = m.content if m.content is string else '' %}
    {%- if m.role == 'user' %}
        {{- '<|user|>\n' + content + ('/nothink' if silent and not content.endswith('/nothink') else '') }}
    {%- elif m.role == 'assistant' %}
        {%- set thought = '' %}
        {%- if m.reasoning_content is string %}
            {%- set thought = m.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set thought = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\n') %}
        {%- endif %}
        {{- '<|assistant|>' }}
        {%- generation %}
        {{- '\n<think>' + (thought.strip() if loop.index0 > turn.last_user else '') + '</think>' }}
        {%- if content.strip() %}{{- '\n' + content.strip() }}{% endif %}
        {%- for call in m.tool_calls or [] %}
            {%- set f = call.function or call %}
            {{- '\n<tool_call>' + f.name + '\n' }}
            {%- for key, value in (f.arguments if f.arguments is mapping else {})|items %}
                {{- '<arg_key>' + key + '</arg_key>\n<arg_value>' + (value if value is string else value|tojson) + '</arg_value>\n' }}
            {%- endfor %}
            {{- '</tool_call>' }}
        {%- endfor %}
        {%- endgeneration %}
    {%- elif m.role == 'tool' %}
        {%- if loop.first or loop.previtem.role != 'tool' %}{{- '<|observation|>' }}{% endif %}
        {{- '\n<tool_response>\n' + content + '\n</tool_response>' }}
    {%- elif m.role == 'system' %}
        {{- '<|system|>\n' + content }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|assistant|>' + ('\n<think></think>' if silent else '') }}{% endif %})jinja";

constexpr std::string_view kKimiK2 = R"jinja(
{%- if tools %}{{- '<|im_system|>tool_declare<|im_middle|>' + tools|tojson + '<|im_end|>' }}{% endif %}
{%- if messages and messages[0].role != 'system' %}
    {{- '<|im_system|>system<|im_middle|>You are Kimi, an AI assistant created by Moonshot AI.<|im_end|>' }}
{%- endif %}
{%- for m in messages %}
    {%- if m.role == 'assistant' %}
        {{- '<|im_assistant|>assistant<|im_middle|>' }}
        {%- generation %}
        {{- m.content or '' }}
        {%- for call in m.tool_calls or [] %}
            {%- if loop.first %}{{- '<|tool_calls_section_begin|>' }}{% endif %}
            {{- '<|tool_call_begin|>' + (call.id or 'functions.' + call.function.name + ':' + loop.index0|string) + '<|tool_call_argument_begin|>' }}
            {{- call.function.arguments|tojson + '<|tool_call_end|>' }}
            {%- if loop.last %}{{- '<|tool_calls_section_end|>' }}{% endif %}
        {%- endfor %}
        {{- '<|im_end|>' }}
        {%- endgeneration %}
    {%- elif m.role == 'user' %}
        {{- '<|im_user|>user<|im_middle|>' + m.content + '<|im_end|>' }}
    {%- elif m.role == 'tool' %}
        {{- '<|im_system|>tool<|im_middle|>## Return of ' + m.tool_call_id|string + '\n' + m.content + '<|im_end|>' }}
    {%- else %}
        {{- '<|im_system|>' + m.role + '<|im_middle|>' + m.content + '<|im_end|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_assistant|>assistant<|im_middle|>' }}{% endif %})jinja";

// Harmony: functions are declared as TypeScript types.
constexpr std::string_view kGptOss = R"jinja(
{%- macro type_of(schema) %}
    {%- if schema.enum is defined %}
        {{- '"' + schema.enum|join('" | "') + '"' }}
    {%- elif schema.type == 'array' %}
        {{- (type_of(schema['items']) if schema['items'] is mapping else 'any') + '[]' }}
    {%- elif schema.type == 'object' and schema.properties is mapping %}
        {{- '{\n' + fields_of(schema) + '}' }}
    {%- elif schema.type in ['integer', 'number'] %}
        {{- 'number' }}
    {%- elif schema.type in ['string', 'boolean'] %}
        {{- schema.type }}
    {%- elif schema.type == 'object' %}
        {{- 'object' }}
    {%- else %}
        {{- 'any' }}
    {%- endif %}
{%- endmacro %}
{%- macro fields_of(schema) %}
    {%- for name, field in schema.properties|items %}
        {%- if field.description %}{{- '// ' + field.description + '\n' }}{% endif %}
        {{- name + ('' if name in (schema.required or []) else '?') + ': ' + type_of(field) + ',' }}
        {%- if field.default is defined %}{{- ' // default: ' + field.default|string }}{% endif %}
        {{- '\n' }}
    {%- endfor %}
{%- endmacro %}
{{- '<|start|>system<|message|>' + (model_identity or 'You are ChatGPT, a large language model trained by OpenAI.') + '\n' }}
{{- 'Knowledge cutoff: 2024-06\nCurrent date: ' + strftime_now('%Y-%m-%d') + '\n\nReasoning: ' + (reasoning_effort or 'medium') + '\n\n' }}
{{- '# Valid channels: analysis, commentary, final. Channel must be included for every message.' }}
{%- if tools %}{{- "\nCalls to these tools must go to the commentary channel: 'functions'." }}{% endif %}
{{- '<|end|>' }}
{%- set given = messages and messages[0].role in ['system', 'developer'] %}
{%- if given or tools %}
    {{- '<|start|>developer<|message|>' }}
    {%- if given and messages[0].content %}{{- '# Instructions\n\n' + messages[0].content + '\n\n' }}{% endif %}
    {%- if tools %}
        {{- '# Tools\n\n## functions\n\nnamespace functions {\n\n' }}
        {%- for tool in tools %}
            {%- set f = tool.function %}
            {%- if f.description %}{{- '// ' + f.description + '\n' }}{% endif %}
            {{- 'type ' + f.name + ' = ' }}
            {%- if f.parameters is mapping and f.parameters.properties %}
                {{- '(_: {\n' + fields_of(f.parameters) + '}) => any;\n\n' }}
            {%- else %}
                {{- '() => any;\n\n' }}
            {%- endif %}
        {%- endfor %}
        {{- '} // namespace functions' }}
    {%- endif %}
    {{- '<|end|>' }}
{%- endif %}
{%- set call = namespace(name='') %}
{%- for m in (messages[1:] if given else messages) %}
    {%- if m.role == 'user' %}
        {{- '<|start|>user<|message|>' + m.content + '<|end|>' }}
    {%- elif m.role == 'assistant' %}
        {%- set thought = m.thinking or m.reasoning_content or '' %}
        {%- if m.tool_calls %}
            {%- set f = m.tool_calls[0].function or m.tool_calls[0] %}
            {%- if thought or m.content %}
                {{- '<|start|>assistant' }}
                {%- generation %}{{- '<|channel|>analysis<|message|>' + (thought or m.content) + '<|end|>' }}{% endgeneration %}
            {%- endif %}
            {{- '<|start|>assistant' }}
            {%- generation %}{{- ' to=functions.' + f.name + '<|channel|>commentary json<|message|>' + f.arguments|tojson + '<|call|>' }}{% endgeneration %}
            {%- set call.name = f.name %}
        {%- elif loop.last and not add_generation_prompt %}
            {%- if thought %}
                {{- '<|start|>assistant' }}
                {%- generation %}{{- '<|channel|>analysis<|message|>' + thought + '<|end|>' }}{% endgeneration %}
            {%- endif %}
            {{- '<|start|>assistant' }}
            {%- generation %}{{- '<|channel|>final<|message|>' + m.content + '<|return|>' }}{% endgeneration %}
        {%- else %}
            {{- '<|start|>assistant' }}
            {%- generation %}{{- '<|channel|>final<|message|>' + m.content + '<|end|>' }}{% endgeneration %}
        {%- endif %}
    {%- elif m.role == 'tool' %}
        {%- if not call.name %}{{- raise_exception('Message has tool role, but there was no previous assistant message with a tool call!') }}{% endif %}
        {{- '<|start|>functions.' + call.name + ' to=assistant<|channel|>commentary<|message|>' + m.content|tojson + '<|end|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start|>assistant' }}{% endif %})jinja";

}  // namespace

const std::vector<BuiltInTemplate>& built_in_templates() {
  static const std::vector<BuiltInTemplate> all = {
      {"chatml", std::string(kChatml)},
      {"qwen2.5", qwen25()},
      {"qwen3", qwen3()},
      {"qwen3-coder", std::string(kQwen3Coder)},
      {"minimind3", minimind3()},
      {"llama-3.1", llama3("'26 Jul 2024'")},
      {"llama-3.2", llama3("strftime_now('%d %b %Y')")},
      {"mistral-v1", std::string(kMistralV1)},
      {"mistral-v2", mistral_v3(" ")},
      {"mistral-v3-spm", mistral_v3(" ")},
      {"mistral-v3-tekken", mistral_v3("")},
      {"mistral-v7", mistral_v7("")},
      {"mistral-v7-spm", mistral_v7(" ")},
      {"deepseek-v3.1", std::string(kDeepseekV31)},
      {"deepseek-r1-distill", std::string(kDeepseekR1Distill)},
      {"gemma-2", std::string(kGemma2)},
      {"phi-3.5", std::string(kPhi35)},
      {"glm-4.6", std::string(kGlm46)},
      {"kimi-k2", std::string(kKimiK2)},
      {"gpt-oss", std::string(kGptOss)}};
  return all;
}

std::optional<std::string_view> find_built_in_template(std::string_view name) {
  for (const BuiltInTemplate& t : built_in_templates())
    if (t.name == name) return t.source;
  return std::nullopt;
}

}  // namespace moe
