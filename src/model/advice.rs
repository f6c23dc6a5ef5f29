//! What to do with a model that is not read here: export it to ONNX, where it was made.

/// A module of PyTorch's, or what was saved of one.
pub const PYTORCH: &str = "export it where it was made: `torch.onnx.export(model.eval(), (torch.zeros(1, INPUTS),), \"model.onnx\")`, \
     then `nearfar convert model.onnx DIR`";
/// A TorchScript archive, whose network is code.
pub const TORCHSCRIPT: &str = "it is a TorchScript archive: how its tensors are used is code in it, which is not run here. Export it: \
     `torch.onnx.export(torch.jit.load(\"model.pt\").eval(), (torch.zeros(1, INPUTS),), \"model.onnx\", dynamo=False)`, \
     then `nearfar convert model.onnx DIR`";
/// An estimator or a pipeline of scikit-learn's.
pub const SKLEARN: &str = "export it where it was made: `skl2onnx.to_onnx(model, X[:1].astype(\"float32\"), \
     target_opset={\"\": 17, \"ai.onnx.ml\": 3})`, write its `SerializeToString()` into model.onnx, then `nearfar convert model.onnx DIR`";
/// A model of Keras or TensorFlow.
pub const KERAS: &str = "export it: `python -m tf2onnx.convert --keras FILE --output model.onnx` (`--saved-model DIR`, \
     `--tflite FILE`; in Keras 3 `model.export(\"model.onnx\", format=\"onnx\")`), then `nearfar convert model.onnx DIR`";
/// A booster of XGBoost's.
pub const XGBOOST: &str = "export it where it was made: `onnxmltools.convert_xgboost(model, \
     initial_types=[(\"x\", FloatTensorType([None, INPUTS]))])`, save that as model.onnx, then `nearfar convert model.onnx DIR`";
/// A booster of LightGBM's.
pub const LIGHTGBM: &str = "export it where it was made: `onnxmltools.convert_lightgbm(model, \
     initial_types=[(\"x\", FloatTensorType([None, INPUTS]))])`, save that as model.onnx, then `nearfar convert model.onnx DIR`";
/// A model of CatBoost's.
pub const CATBOOST: &str = "export it where it was made: `model.save_model(\"model.onnx\", format=\"onnx\")`, then \
     `nearfar convert model.onnx DIR`";
