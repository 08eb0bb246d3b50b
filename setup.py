"""The distribution `edgesmith`. Exact versions stand in constraints.txt; here is what is needed and why."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
# Its wheels are for no other machines; elsewhere Vela serves alone.
TFLITE_MICRO = "tflite-micro>=0.dev20250000; sys_platform == 'linux' and platform_machine == 'x86_64'"

setup(
    name="edgesmith",
    version="0.1.0",
    description="Takes a Keras model and real data to a fully-int8 .tflite that is proven on its devices.",
    long_description=HERE.joinpath("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["pipeline", "pipeline.*", "models", "models.*", "edge_targets", "edge_targets.*"]),
    # report.schema.json is a link to the published one in docs/schemas: reports that are read are held to it.
    package_data={"edge_targets": ["*.sh"], "pipeline.report": ["*.html", "*.md", "*.css", "*.js", "*.json"]},
    install_requires=[
        "tensorflow>=2.21,<2.22",
        "tf-keras>=2.21,<2.22",
        "tensorflow-model-optimization>=0.8.1,<0.9",
        # Wheels end at Python 3.11; beyond it LiteRT serves alone.
        "tflite-runtime>=2.14,<2.15; python_version < '3.12'",
        "ai-edge-litert>=2.3,<3",
        # tflite-runtime fails inside CreateWrapperFromFile with numpy 2.
        "numpy>=1.26,<2",
        "ml-dtypes<0.6",
        "click>=8.1",
        "rich>=13",
        "pydantic>=2.10",
        "pyyaml>=6",
        "jinja2>=3.1",
        "scikit-learn>=1.5",
        "scipy>=1.11",
        "pillow>=11",
        "vl-convert-python>=1.7",
        # Holds a report.json that is read to its schema; jsonschema takes seconds for a large one.
        "fastjsonschema>=2.20",
        "tensorboard>=2.18",
        # The history of runs: SQLite, or any database by its URL.
        "sqlalchemy>=2.0",
        # Devices over ssh: it reads ~/.ssh/config, known_hosts and the agent as OpenSSH does.
        "asyncssh>=2.21",
        # Which wheel fits a device's Python: its own tags and names of files.
        "packaging>=24",
    ],
    extras_require={
        # tensorflow-datasets imports importlib_resources, and does not ask for it.
        "tfds": ["tensorflow-datasets>=4.9.7", "importlib-resources"],
        # Real recordings for the examples. Its data is read without importing it: that would need pandas.
        "examples": ["seglearn>=1.2.5"],
        # Microcontrollers: their real interpreter (its releases are dated builds), and Arm's compiler for Ethos-U.
        "mcu": [TFLITE_MICRO, "ethos-u-vela>=5"],
        # Runs in MLflow: its client, without the server. Where no server is named it keeps a database of its own, which
        # it makes with alembic and does not ask for.
        "mlflow": ["mlflow-skinny>=3", "alembic>=1.13"],
        # The second way to quantize, and int4 weights, which TensorFlow's converter does not make.
        "aeq": ["ai-edge-quantizer>=0.10,<0.11"],
        "dev": [
            "mlflow-skinny>=3",
            "alembic>=1.13",
            "pytest>=8",
            "pytest-xdist>=3.6",
            "hypothesis>=6.100",
            "mypy>=1.13",
            "ruff>=0.8",
            "types-PyYAML",
            "jsonschema>=4.20",
            # Drives Debian's chromium over the pages of the report; no browser of its own is downloaded.
            "playwright>=1.49",
            "seglearn>=1.2.5",
            TFLITE_MICRO,
            "ethos-u-vela>=5",
            "ai-edge-quantizer>=0.10,<0.11",
        ],
    },
    entry_points={"console_scripts": ["edgesmith = pipeline.cli:main"]},
    classifiers=[
        "Development Status :: 4 - Beta",
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3.11",
    ],
)
