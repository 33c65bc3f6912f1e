"""Frameworks that setwise plugs into: LangChain, LlamaIndex and Haystack, one module each.

Each is imported by its own name (``setwise.integrations.langchain``) and needs the framework installed.
"""
