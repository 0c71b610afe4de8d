"""The operators that a policy may consist of: those that compute numbers from numbers, the same each time.

Left out are operators that run without a bound (Loop), draw at random, handle text, images, sequences or optional
values, train, or call what only some builds of ONNX Runtime have.
"""

_COMPUTING = """
Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Celu
Clip Cos Cosh CumProd CumSum Det Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish Hardmax
IsInf IsNaN LeakyRelu Less LessOrEqual Log LogSoftmax Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu
Round Selu Shrink Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor
"""
_REDUCING = """
ArgMax ArgMin ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
ReduceSumSquare TopK
"""
_NETWORK = """
Attention AveragePool BatchNormalization Conv ConvInteger ConvTranspose DequantizeLinear DynamicQuantizeLinear Einsum
GRU Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool GridSample GroupNormalization InstanceNormalization LRN LSTM
LayerNormalization LpNormalization LpPool MatMul MatMulInteger MaxPool MeanVarianceNormalization QLinearConv
QLinearMatMul QuantizeLinear RMSNormalization RNN RotaryEmbedding
"""
_ARRANGING = """
Compress Concat Constant ConstantOfShape DepthToSpace Dropout Expand EyeLike Flatten Gather GatherElements GatherND
Identity NonZero OneHot Pad Range Reshape Resize ReverseSequence Scatter ScatterElements ScatterND Shape Size Slice
SpaceToDepth Split Squeeze TensorScatter Tile Transpose Trilu Unique Unsqueeze Upsample
"""
_BRANCHING = "If Scan"
"""One of two branches once, and one turn for each row of what is scanned: both end."""
_CLASSIC = """
ArrayFeatureExtractor Binarizer FeatureVectorizer Imputer LabelEncoder LinearClassifier LinearRegressor Normalizer
OneHotEncoder SVMClassifier SVMRegressor Scaler TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor ZipMap
"""
_FUSED = """
BiasAdd BiasDropout BiasGelu BiasSoftmax DequantizeLinear DynamicQuantizeLSTM DynamicQuantizeMatMul FastGelu FusedConv
FusedGemm FusedMatMul FusedMatMulActivation Gelu MatMulInteger16 MatMulIntegerToFloat MatMulNBits NhwcMaxPool QAttention
QGemm QLinearAdd QLinearAveragePool QLinearConcat QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul QLinearReduceMean
QLinearSigmoid QLinearSoftmax QLinearWhere QuantizeLinear QuickGelu SimplifiedLayerNormalization
SkipLayerNormalization SkipSimplifiedLayerNormalization
"""
"""What ONNX Runtime's own optimizer and quantizer write."""

_OWN = frozenset(f"{_COMPUTING} {_REDUCING} {_NETWORK} {_ARRANGING} {_BRANCHING}".split())
ALLOWED = {
    "": _OWN,
    "ai.onnx": _OWN,
    "ai.onnx.ml": frozenset(_CLASSIC.split()),
    "com.microsoft": frozenset(_FUSED.split()),
}
"""Operators by domain."""

DRAWN = frozenset(
    {
        "Bernoulli",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)
"""Operators that draw at random."""
WHY_NOT = {
    "Loop": ("whose turns may have no end", "unroll it, or use Scan, LSTM, GRU or RNN"),
    "SequenceMap": ("whose sequence may have any length", "work on one tensor instead"),
} | dict.fromkeys(DRAWN, ("which draws at random", "export the mean, or the most probable action"))
"""Why an operator that networks are exported with is refused, and what to do."""

SIZES = {
    "CenterCropPad": (1,),
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "OneHot": (1,),
    "Pad": (1,),
    "Range": (0, 1, 2),
    "Resize": (1, 2, 3),
    "Tile": (1, 2),
    "Upsample": (1,),
}
"""Inputs of an operator, by place, that say how large its result becomes: without a bound."""
PARTS = {
    "Reshape": (1,),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "TopK": (1,),
    "Unsqueeze": (1,),
}
"""Inputs that say which shape a result has: never more than its other input holds."""
COUNTING = frozenset({"Compress", "NonZero", "Unique"})
"""Operators whose result is as large as the numbers in it say."""
GROWING = frozenset(
    {
        "blocksize",
        "dilations",
        "hidden_size",
        "kernel_shape",
        "output_padding",
        "output_shape",
        "pads",
        "repeats",
        "scales",
        "strides",
    }
)
"""Attributes by which a result may become larger than what it is made from."""
