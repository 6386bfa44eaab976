"""All recipes by name, in the order in which they are made."""

from __future__ import annotations

from models.recipes.text.embedding import Embedding
from models.recipes.text.entailment import Entailment
from models.recipes.text.entities import Entities
from models.recipes.text.extractive_qa import ExtractiveQA
from models.recipes.text.fill_mask import FillMask
from models.recipes.text.recipe import Recipe
from models.recipes.text.reranker import Reranker
from models.recipes.text.sentiment import Sentiment

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (Embedding(), Reranker(), Sentiment(), Entailment(), Entities(), ExtractiveQA(), FillMask())
}
