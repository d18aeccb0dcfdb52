"""Which model names can work; asked before anything starts, so it must not import DSPy."""

from __future__ import annotations

import os

from tdsys.errors import ConfigurationError

OFFLINE = "offline"
AT = " at "
# The providers DSPy's own HTTP client reaches without litellm, with the variable of their key.
KEY_VARIABLES: dict[str, str | None] = {
    "anthropic": "ANTHROPIC_API_KEY",
    "deepseek": "DEEPSEEK_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "groq": "GROQ_API_KEY",
    "hosted_vllm": None,
    "moonshot": "MOONSHOT_API_KEY",
    "ollama": None,
    "ollama_chat": None,
    "openai": "OPENAI_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
    "xai": "XAI_API_KEY",
}


def gauge(name: str, address: str | None) -> str:
    """Under what all who ask a model are counted together: at another address it is another."""
    return f"{name}{AT}{address}" if address else name


def check_name(name: str, *, setting: str = "TDSYS_LM") -> None:
    """Refuse a model that cannot work, before anything depends on it; `setting` named it."""
    if name == OFFLINE:
        return
    provider, slash, model = name.partition("/")
    if not slash or not model:
        raise ConfigurationError(
            f"{setting}={name!r} names no provider",
            remedy="use offline, or PROVIDER/MODEL such as openai/gpt-4o-mini",
        )
    if provider not in KEY_VARIABLES:
        raise ConfigurationError(
            f"{setting}={name!r}: no provider is called {provider!r}",
            remedy=f"use one of {', '.join(sorted(KEY_VARIABLES))}",
        )
    variable = KEY_VARIABLES[provider]
    if variable and not os.environ.get(variable):
        raise ConfigurationError(
            f"{setting}={name} needs {variable}, which is not set",
            remedy=f"export {variable}; a local server takes any text",
        )
